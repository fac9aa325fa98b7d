"""Learn mode: a least-privilege policy from what a user did, by the audit. Pure.

    lesson      audit lines -> the calls that were made, and what cannot be said of them
    grants      calls -> as few rules as allow them, and nothing else
    patterns    ARNs as they stand -> patterns of awsgate, IAM and Terraform
    roles       rules -> ``kind: role`` documents of awsgate
    iam         rules -> an IAM policy, as JSON or as a Terraform data source
    difference  calls against what the user's roles grant now

Nothing is widened without being said: what a format cannot say, and where a rule allows
more than was done, is among the notes that come with every text.
"""

from __future__ import annotations

from awsgate.learn.difference import Difference, difference
from awsgate.learn.grants import Grant, aws_grants, gateway_grants
from awsgate.learn.iam import iam_policy, terraform
from awsgate.learn.lesson import Lesson, Wanted, learn
from awsgate.learn.roles import role_documents

__all__ = [
    "Difference",
    "Grant",
    "Lesson",
    "Wanted",
    "aws_grants",
    "difference",
    "gateway_grants",
    "iam_policy",
    "learn",
    "role_documents",
    "terraform",
]
