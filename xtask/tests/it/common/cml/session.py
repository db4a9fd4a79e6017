"""A session of CML's own client. The scripts that use it run behind it, as one program."""

import warnings

warnings.simplefilter("ignore")
from virl2_client import ClientLibrary  # noqa: E402
from virl2_client.exceptions import APIError  # noqa: E402

client = ClientLibrary(raise_for_auth_failure=True)


def refused(status, call, *arguments):
    try:
        call(*arguments)
    except APIError as error:
        assert error.response.status_code == status, f"{error.response.status_code} instead of {status}: {error}"
        assert "{" not in str(error), f"the client found no description: {error}"
    else:
        raise AssertionError(f"{call.__name__}{arguments!r} should be refused")
