"""What processes listen to, as the kernel tells: so that nothing started by us can be heard elsewhere unless
asked.
"""

import ipaddress
import socket

import psutil

DATAGRAM = socket.SOCK_DGRAM


def open_beyond_loopback(processes: list[psutil.Process]) -> set[str]:
    """ "name address:port" of each of their sockets that another machine can reach."""
    return {
        f"{process.name()} {host}:{port}"
        for process in processes
        for host, port in _listened(process)
        if not _is_loopback(host)
    }


def listens(processes: list[psutil.Process]) -> bool:
    return any(_listened(process) for process in processes)


def _is_loopback(host: str) -> bool:
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _listened(process: psutil.Process) -> list[tuple[str, int]]:
    try:
        connections = process.net_connections("inet")
    except psutil.Error:  # it has ended
        return []
    return [
        (each.laddr.ip, each.laddr.port)
        for each in connections
        if each.status == psutil.CONN_LISTEN or (each.type == DATAGRAM and not each.raddr)
    ]
