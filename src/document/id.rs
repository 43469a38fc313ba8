//! `_id`: the identity of a line as text that Elasticsearch takes (at most 512 bytes, no escaping needed).

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Appends base64url (RFC 4648, section 5) without padding.
fn write_base64url(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |bits: u32| ALPHABET[(bits & 63) as usize];
    let (threes, rest) = bytes.as_chunks::<3>();
    for &[a, b, c] in threes {
        let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
        out.extend_from_slice(&[digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), digit(bits)]);
    }
    match *rest {
        [a] => out.extend_from_slice(&[digit(u32::from(a) >> 2), digit(u32::from(a) << 4)]),
        [a, b] => {
            let bits = u32::from(a) << 8 | u32::from(b);
            out.extend_from_slice(&[digit(bits >> 10), digit(bits >> 4), digit(bits << 2)]);
        }
        _ => {}
    }
}

/// The identity of a line of ours.
pub(super) fn write_ours(out: &mut Vec<u8>, file: u64, offset: u64, value: &[u8]) {
    let mut raw = [0; 20];
    raw[..8].copy_from_slice(&file.to_be_bytes());
    raw[8..16].copy_from_slice(&offset.to_be_bytes());
    raw[16..].copy_from_slice(&crc32c::crc32c(value).to_be_bytes());
    write_base64url(out, &raw);
}

/// The identity of a record of another producer. Longer than that of a line of ours, so the two never meet.
pub(super) fn write_foreign(out: &mut Vec<u8>, topic: &str, partition: i32, offset: i64, timestamp_ms: i64) {
    let mut raw = Vec::with_capacity(topic.len() + 20);
    raw.extend_from_slice(topic.as_bytes());
    raw.extend_from_slice(&partition.to_be_bytes());
    raw.extend_from_slice(&offset.to_be_bytes());
    raw.extend_from_slice(&timestamp_ms.to_be_bytes());
    write_base64url(out, &raw);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64url(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write_base64url(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn base64url_is_that_of_rfc_4648() {
        for (plain, coded) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")] {
            assert_eq!(base64url(plain.as_bytes()), coded);
        }
        assert_eq!(base64url(&[0xfb, 0xff, 0xbf]), "-_-_");
    }

    #[test]
    fn a_line_of_ours_has_27_characters_and_its_bytes_count() {
        let id = |offset, value: &[u8]| {
            let mut out = Vec::new();
            write_ours(&mut out, 0xa41f_9c0e_77d2_b3c8, offset, value);
            String::from_utf8(out).unwrap()
        };
        // CRC-32C's check value for "123456789" is e3069283.
        assert_eq!(id(1, b"123456789"), "pB-cDnfSs8gAAAAAAAAAAeMGkoM");
        assert_eq!(id(1, b"123456789").len(), 27);
        assert_ne!(id(1, b"a"), id(1, b"b"));
        assert_ne!(id(1, b"a"), id(2, b"a"));
    }

    #[test]
    fn a_foreign_record_of_the_longest_topic_stays_below_the_limit() {
        let mut out = Vec::new();
        write_foreign(&mut out, &"t".repeat(249), 7, i64::MAX, -1);
        assert!(out.len() <= 512 && out.len() > 27, "{}", out.len());
    }
}
