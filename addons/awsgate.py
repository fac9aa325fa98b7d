from awsgate.addon.entry import load_addons

addons = load_addons()
