"""DNS from outside: dnspython for what is measured, dig for what people use."""

import subprocess
from dataclasses import dataclass

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

# As example networks of RFC 5737; examples/zone.yaml says where they are.
AMERICA = "192.0.2.0/24"
EUROPE = "198.51.100.0/24"
ASIA = "203.0.113.0/24"


@dataclass(frozen=True)
class Server:
    """Where DNS is answered."""

    address: str
    port: int

    def query(
        self, name: str, kind: str = "A", subnet: str | None = None, tcp: bool = False, timeout: float = 1.0
    ) -> dns.message.Message:
        """One query, no retry."""
        options = []
        if subnet:
            network, bits = subnet.split("/")
            options.append(dns.edns.ECSOption(network, int(bits)))
        message = dns.message.make_query(name, kind, use_edns=0, options=options)
        ask = dns.query.tcp if tcp else dns.query.udp
        return ask(message, self.address, timeout=timeout, port=self.port)

    def addresses(self, name: str, subnet: str | None = None, kind: str = "A", timeout: float = 1.0) -> list[str]:
        """The addresses of one answer, in its order."""
        answer = self.query(name, kind, subnet, timeout=timeout)
        assert answer.rcode() == dns.rcode.NOERROR, dns.rcode.to_text(answer.rcode())
        wanted = dns.rdatatype.from_text(kind)
        return [record.address for rrset in answer.answer if rrset.rdtype == wanted for record in rrset]

    def dig(self, *arguments: str) -> str:
        """What dig prints."""
        command = ["dig", f"@{self.address}", "-p", str(self.port), "+time=2", "+tries=1", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout
