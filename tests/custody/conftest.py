from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from hub.custody import Custody
from hub.custody.disk import DiskCustody
from hub.custody.objects import ObjectCustody
from tests.servers.moto import OPTIONS, make_bucket, s3


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3(tmp_path_factory.mktemp("moto")) as endpoint:
        yield endpoint


@pytest.fixture(params=["disk", "s3"])
def custody(request: pytest.FixtureRequest, tmp_path: Path) -> Custody:
    if request.param == "disk":
        return DiskCustody(tmp_path / "recordings")
    endpoint, bucket = request.getfixturevalue("endpoint"), f"b{token_hex(8)}"
    make_bucket(endpoint, bucket)
    return ObjectCustody(f"s3://{bucket}/some/prefix", {**OPTIONS, "endpoint": endpoint})
