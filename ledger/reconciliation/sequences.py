"""The sequence numbers of a vehicle, kept as bits: 256 to a number, by seq // 256."""


def gaps(blocks: dict[int, int]) -> int:
    """The seqs missing between the lowest and the highest, computed from the bits: there may be very many."""
    lowest, highest = min(blocks), max(blocks)
    low = lowest * 256 + (blocks[lowest] & -blocks[lowest]).bit_length() - 1
    high = highest * 256 + blocks[highest].bit_length() - 1
    return high - low + 1 - sum(block.bit_count() for block in blocks.values())
