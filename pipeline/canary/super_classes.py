"""The 1000 synsets of ILSVRC in ten groups, after WordNet: few classes that a few hundred images can teach.

A group that would have less than some twenty of 500 validation images is joined with its neighbour.
"""

from __future__ import annotations

# Animals, food and scenery stand together in the order of the synset ids: ranges of the index, end excluded.
RANGES = {
    "dog": ((151, 269),),
    "other mammal": ((101, 107), (147, 151), (269, 300), (330, 389)),
    "bird": ((7, 25), (80, 101), (127, 147)),
    "reptile or fish": ((0, 7), (25, 69), (389, 398)),
    "invertebrate": ((69, 80), (107, 127), (300, 330)),
    "food or plant": ((924, 968), (969, 970), (984, 999)),
    "place": ((970, 971), (972, 981)),
    "clothing": ((981, 984),),  # people: they are named after what they wear
}
# Artefacts stand in alphabetical order of their first names.
# fmt: off
ARTEFACTS = {
    "vehicle": (
        "aircraft carrier", "airliner", "airship", "ambulance", "amphibian", "beach wagon",
        "bicycle-built-for-two", "bobsled", "bullet train", "cab", "canoe", "catamaran", "container ship",
        "convertible", "dogsled", "electric locomotive", "fire engine", "fireboat", "forklift",
        "freight car", "garbage truck", "go-kart", "golfcart", "gondola", "half track", "harvester",
        "horse cart", "jeep", "jinrikisha", "lifeboat", "limousine", "liner", "minibus", "minivan",
        "Model T", "moped", "motor scooter", "mountain bike", "moving van", "oxcart", "passenger car",
        "pickup", "pirate", "police van", "racer", "recreational vehicle", "schooner", "school bus",
        "snowmobile", "snowplow", "space shuttle", "speedboat", "sports car", "steam locomotive",
        "streetcar", "submarine", "tank", "thresher", "tow truck", "tractor", "trailer truck", "tricycle",
        "trimaran", "trolleybus", "unicycle", "warplane", "wreck", "yawl",
    ),
    "place": (
        "altar", "apiary", "bakery", "bannister", "barbershop", "barn", "beacon", "bell cote", "boathouse",
        "bookshop", "breakwater", "butcher shop", "carousel", "castle", "chainlink fence", "church",
        "cinema", "cliff dwelling", "confectionery", "dam", "dock", "dome", "drilling platform",
        "fountain", "greenhouse", "grocery store", "home theater", "library", "lumbermill", "maypole",
        "maze", "megalith", "mobile home", "monastery", "mosque", "obelisk", "palace", "patio",
        "picket fence", "pier", "planetarium", "prison", "radio telescope", "restaurant", "shoe shop",
        "stage", "steel arch bridge", "stone wall", "stupa", "suspension bridge", "thatch", "tile roof",
        "tobacco shop", "totem pole", "toyshop", "triumphal arch", "vault", "viaduct", "water tower",
        "worm fence", "yurt",
    ),
    "clothing": (
        "abaya", "academic gown", "apron", "bathing cap", "bearskin", "bib", "bikini", "bolo tie",
        "bonnet", "bow tie", "brassiere", "breastplate", "bulletproof vest", "cardigan", "chain mail",
        "Christmas stocking", "cloak", "clog", "cowboy boot", "cowboy hat", "crash helmet", "cuirass",
        "diaper", "feather boa", "football helmet", "fur coat", "gasmask", "gown", "hoopskirt", "jean",
        "jersey", "kimono", "knee pad", "lab coat", "Loafer", "maillot", "mask", "military uniform",
        "miniskirt", "mitten", "mortarboard", "neck brace", "necklace", "overskirt", "oxygen mask",
        "pajama", "pickelhaube", "poncho", "running shoe", "sandal", "sarong", "shower cap", "ski mask",
        "sock", "sombrero", "stole", "suit", "sunglass", "sunglasses", "sweatshirt", "swimming trunks",
        "trench coat", "vestment", "wig", "Windsor tie",
    ),
}
# fmt: on
THING = "thing"
SUPER_CLASSES = (*RANGES, "vehicle", THING)


def super_class(index: int, name: str) -> str:
    """The group of a synset by its place among the 1000 sorted ids and its name.

    >>> super_class(0, "tench, Tinca tinca"), super_class(817, "sports car, sport car")
    ('reptile or fish', 'vehicle')
    """
    for group, ranges in RANGES.items():
        if any(start <= index < stop for start, stop in ranges):
            return group
    first = name.split(",")[0].strip()
    return next((group for group, names in ARTEFACTS.items() if first in names), THING)
