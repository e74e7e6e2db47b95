"""Infrastructure that strangers share: homes' ranges, carriers, VPN exits, clouds, proxies, public templates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hydragraph.worlds.draft import Ints, Rng, skewed
from hydragraph.worlds.places import MANY, AddressSpace, Places, hosts


@dataclass
class Shared:
    """Codes of shared pools (most popular first) and ranges. Campuses are added when they are built."""

    space: AddressSpace
    residential: Ints  # /24s where people live
    residential_weight: np.ndarray[tuple[int], np.dtype[np.float64]]  # cumulative, for picking by popularity
    hosting: Ints  # /24s of rented servers
    carriers: Ints
    vpns: Ints
    clouds: Ints
    wide: Ints  # proxy providers' pools of home addresses
    providers: list[Ints]  # the sites in each of these pools
    compact: list[Ints]  # proxy providers' servers: sites of each provider
    billing: int  # cards 0..n-1 are billing intermediaries that strangers pay through
    public_templates: int  # templates 0..n-1 are public, most used first
    clients: int  # TLS fingerprints 0..n-1 are ordinary clients, most used first
    known: list[tuple[str, Ints]]  # (kind, /24s) for the table of known ranges

    def home_nets(self, rng: Rng, count: int) -> Ints:
        """`count` /24s where people live, popular ones more often."""
        total = self.residential_weight[-1]
        nets: Ints = self.residential[np.searchsorted(self.residential_weight, rng.random(count) * total, side="right")]
        return nets


def build_shared(rng: Rng, places: Places, accounts: int) -> Shared:
    """The shared infrastructure of a world of `accounts` accounts.

    There is one residential /24 for some 20 homes at any size, so strangers per range do not depend on the world's
    size; carrier, VPN and cloud ranges serve hundreds to thousands each once the world is large enough.
    """
    space = AddressSpace(rng, 2048 + int(accounts * 0.09))
    residential = space.take(max(12, int(accounts * rng.uniform(0.034, 0.046))))
    weight = np.cumsum(np.exp(0.45 * rng.standard_normal(len(residential))))
    hosting = space.take(max(4, int(accounts / rng.uniform(500, 1200))))
    known: list[tuple[str, Ints]] = []

    def networks(kind: str, count: int, ranges: float, host_count: int) -> Ints:
        """Pools of heavy-tailed sizes that add up to about `ranges` /24s, the widest first."""
        shares = np.sort(rng.pareto(1.3, count) + 0.3)[::-1]
        widths = np.maximum(1, np.round(ranges * shares / shares.sum())).astype(np.int64)
        out = []
        for width in widths:
            nets = space.take(int(width))
            known.append((kind, nets))
            if host_count == MANY:
                sites = places.add_sites(nets, MANY)
            else:
                sites = places.add_sites(np.repeat(nets, host_count), hosts(rng, width * host_count))
            out.append(places.pool(sites))
        return np.array(out)

    root, full = np.sqrt(accounts / 1e6), (accounts / 1e6) ** 0.8
    crowd, exits, egress = rng.uniform(2000, 4000), rng.uniform(300, 700), rng.uniform(120, 300)
    carriers = networks("cgnat", int(rng.integers(2, 5) + 24 * full), 3 + accounts * 0.38 / crowd, MANY)
    vpns = networks("vpn", int(rng.integers(3, 6) + 14 * root), 6 + accounts * 0.1 / exits, 6)
    clouds = networks("cloud", int(rng.integers(3, 5) + 8 * root), 5 + accounts * 0.06 / egress, 24)

    wide, providers, compact = [], [], []
    for _ in range(int(rng.integers(3, 5) + 4 * root)):
        width = min(len(residential), max(10, int(len(residential) * rng.uniform(0.15, 0.5))))
        four = places.add_sites(rng.choice(residential, width, replace=False), hosts(rng, width))
        six = places.add_sites(space.homes6(width // 8), 0, six=True)
        sites = rng.permutation(np.concatenate([four, six]))
        providers.append(sites)
        wide.append(places.pool(sites, rotates=bool(rng.random() < 0.5)))
        servers = int(rng.integers(60, 140))
        nets = space.take(int(rng.integers(8, 22)))
        compact.append(places.add_sites(rng.choice(nets, servers), hosts(rng, servers)))
    return Shared(
        space=space,
        residential=residential,
        residential_weight=weight,
        hosting=hosting,
        carriers=carriers,
        vpns=vpns,
        clouds=clouds,
        wide=np.array(wide),
        providers=providers,
        compact=compact,
        billing=int(1 + accounts / rng.uniform(15_000, 40_000)),
        public_templates=int(20 + accounts / rng.uniform(1500, 4000)),
        clients=int(40 + accounts / rng.uniform(2500, 6000)),
        known=known,
    )


def popular(rng: Rng, pools: Ints, count: int) -> Ints:
    """`count` picks among shared pools, wide ones more often."""
    return pools[skewed(rng, count, len(pools), 1.7)]
