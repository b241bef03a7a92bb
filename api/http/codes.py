"""Every error code that the HTTP side can answer: the single source of status and title.

One table, so that the answers, the pages under `/errors` and `docs/errors` can't disagree. Its
parts are the modules `*_codes`. A code is a promise: it may be added, never renamed, and its
status never changes.
"""

from api.http.access_codes import ACCESS
from api.http.account_codes import ACCOUNTS
from api.http.analytics_codes import ANALYTICS
from api.http.closing_codes import CLOSING
from api.http.code import Code
from api.http.consistency_codes import CONSISTENCY
from api.http.credit_codes import CREDITS
from api.http.factor_codes import FACTORS
from api.http.key_codes import KEYS
from api.http.plan_codes import PLANS
from api.http.purchase_codes import PURCHASES
from api.http.request_codes import REQUEST
from api.http.service_codes import SERVICE
from api.http.session_codes import SESSIONS
from api.http.staff_codes import STAFF

_ALL = (
    *REQUEST,
    *ACCESS,
    *ACCOUNTS,
    *KEYS,
    *FACTORS,
    *PLANS,
    *CLOSING,
    *STAFF,
    *SESSIONS,
    *CREDITS,
    *PURCHASES,
    *CONSISTENCY,
    *ANALYTICS,
    *SERVICE,
)

CODES: dict[str, Code] = {code.code: code for code in _ALL}
"""The catalogue, by code."""
