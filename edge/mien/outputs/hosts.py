"""What the name or address of a host tells: whether it is this computer, and how others reach it."""

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Whether this computer alone can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_own_name(name: str) -> bool:
    """Whether it is an IP address, or a name that only this computer can have."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in ("localhost", socket.gethostname().lower()) or name.endswith(".local")
    return True


def reachable(host: str) -> str:
    """Return a host for a URL: of "all addresses", the one that others in the network see."""
    if host in ("", "0.0.0.0", "::"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing; the address is one for documentation (RFC 5737)
                return str(probe.getsockname()[0])
            except OSError:  # no network
                return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
