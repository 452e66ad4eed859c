//! The same bytes in other pieces.

/// All at once.
pub const WHOLE: u8 = u8::MAX;

/// Cuts `wire`: 0 gives single bytes, [`WHOLE`] one piece, anything between pieces of sizes that it seeds.
pub fn cut(wire: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(seed).wrapping_mul(0x9e37_79b9) | 1;
    let mut rest = wire;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let size = match seed {
            0 => 1,
            WHOLE => rest.len(),
            // Many small pieces, some large ones.
            _ => 1 + (state >> 8) as usize % (1 << (state % 9)),
        };
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}
