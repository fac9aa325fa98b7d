"""The partition table against botocore's."""

from __future__ import annotations

import re

from botocore.loaders import Loader

from awsgate.aws.partitions import BY_ID, KNOWN_REGIONS, all_suffixes, region_partition

DATA = Loader().load_data("partitions")["partitions"]


def test_every_partition_of_botocore_is_there_with_its_suffixes() -> None:
    for row in DATA:
        ours = BY_ID[row["id"]]
        assert ours.suffix == row["outputs"]["dnsSuffix"]
        assert ours.dual_stack_suffix == row["outputs"]["dualStackDnsSuffix"]
        assert ours.global_region == row["outputs"]["implicitGlobalRegion"]
        assert ours.suffix in all_suffixes()


def test_every_region_belongs_to_its_own_partition_and_no_other() -> None:
    for row in DATA:
        for region in row["regions"]:
            if not re.match(row["regionRegex"], region):
                continue  # aws-global and its like name no place
            owner = region_partition(region)
            assert owner is not None
            assert owner.id == row["id"]
            assert [p for p in BY_ID if BY_ID[p].region.fullmatch(region)] == [row["id"]]


def test_the_known_regions_are_regions_of_botocore() -> None:
    places = {
        region for row in DATA for region in row["regions"] if re.match(row["regionRegex"], region)
    }

    assert places >= KNOWN_REGIONS
    assert len(KNOWN_REGIONS) > 40
