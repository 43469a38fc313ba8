//! What the lines of a file are, in the plainest words: the whole content, split at `\n`. The cutter and the reader are
//! compared with it.

use crate::messages::Part;
use proptest::prelude::*;

/// Position, bytes, part.
pub(super) type ModelLine = (u64, Vec<u8>, Part);

/// The lines of a whole content. `finished`: what stands behind the last line end is a line, too.
pub(super) fn lines(content: &[u8], max: u32, finished: bool) -> Vec<ModelLine> {
    let mut all = Vec::new();
    let mut position = 0;
    for piece in content.split_inclusive(|byte| *byte == b'\n') {
        let line = match piece {
            [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
            unfinished if finished => unfinished,
            _ => break,
        };
        let parts: Vec<&[u8]> = line.chunks(max as usize).collect();
        for (i, bytes) in parts.iter().enumerate() {
            let part = match (parts.len(), i + 1) {
                (1, _) => Part::Whole,
                (all, nth) if all == nth => Part::Last,
                (_, nth) => Part::Nth(nth as u32),
            };
            all.push((position + (i * max as usize) as u64, bytes.to_vec(), part));
        }
        position += piece.len() as u64;
    }
    all
}

/// Contents with lines around the limits of 16 to 40 bytes, odd line ends, empty lines, an unfinished end.
pub(crate) fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => (0_usize..20, any::<u8>()).prop_map(|(n, byte)| vec![byte; n]),
        2 => (12_usize..130).prop_map(|n| vec![b'x'; n]),
        6 => Just(b"\n".to_vec()),
        3 => Just(b"\r\n".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => Just(vec![0]),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}
