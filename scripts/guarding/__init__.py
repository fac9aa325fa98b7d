"""Takes the guards of awsgate away, one at a time, and says which test misses each."""
