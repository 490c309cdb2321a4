"""The servers under test: ours, and as control what others run in production, from Debian's packages."""

from servers.bind import BIND
from servers.gdnsd import GDNSD
from servers.knot import KNOT
from servers.meridian import MERIDIAN
from servers.nsd import NSD
from servers.powerdns import POWERDNS

OURS = MERIDIAN
CONTROLS = [BIND, KNOT, NSD, POWERDNS, GDNSD]
