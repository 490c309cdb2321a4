"""Makes geo.mmdb, the small database of the geo tests.

Needs `pip install mmdb-writer netaddr`. The networks are those that RFC 5737 and RFC 3849 keep for documentation.
"""

from netaddr import IPSet
from mmdb_writer import MMDBWriter

PLACES = {
    "198.51.100.0/24": (37.77, -122.42),  # San Francisco
    "203.0.112.0/20": (48.86, 2.35),  # Paris, a block wider than a hashing unit
    "2001:db8:65::/40": (1.35, 103.82),  # Singapore
}

writer = MMDBWriter(
    ip_version=6, database_type="Meridian-Test-City", ipv4_compatible=True, languages=["en"], float_type="f64"
)
for network, (latitude, longitude) in PLACES.items():
    writer.insert_network(IPSet([network]), {"location": {"latitude": latitude, "longitude": longitude}})
# An entry of which the place is not known.
writer.insert_network(IPSet(["192.0.2.0/24"]), {"country": {"iso_code": "XX"}})
writer.to_db_file("geo.mmdb")

countries = MMDBWriter(ip_version=4, database_type="Meridian-Test-Country", languages=["en"])
countries.insert_network(IPSet(["192.0.2.0/24"]), {"country": {"iso_code": "XX"}})
countries.to_db_file("countries.mmdb")
