"""The entry for ``mitmdump -s``. Everything is in the package beside it."""

from awsgate.addon.entry import load_addons

addons = load_addons()
