"""The logins of this user, for the commands. They are kept by ``awsgate.loginstore``."""

from __future__ import annotations

from awsgate.loginstore import Stored as Stored
from awsgate.loginstore import folder_of as folder_of
from awsgate.loginstore import forget as forget
from awsgate.loginstore import gateway_url as gateway_url
from awsgate.loginstore import load as load
from awsgate.loginstore import logins_folder as logins_folder
from awsgate.loginstore import record_of as record_of
from awsgate.loginstore import save as save
from awsgate.loginstore import stored_gateways as stored_gateways
