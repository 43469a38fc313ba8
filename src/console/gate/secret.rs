//! Random words that open something, and what is kept of them. The problem: whoever reads the store must not be able to
//! come in with what is there. So only the SHA-256 of a word is kept; its 256 random bits leave nothing to guess, so
//! that no slower hash is needed.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// Random bits are not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub struct NoRandom(String);

/// `N` random bytes in hex.
///
/// # Errors
/// The system gives none.
pub fn random<const N: usize>() -> Result<String, NoRandom> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| NoRandom(e.to_string()))?;
    Ok(hex(&bytes))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 in hex.
pub fn hash(word: &str) -> String {
    hex(&Sha256::digest(word.as_bytes()))
}

/// Whether the word has this hash. How long it takes tells nothing of where they differ.
pub fn has_hash(word: &str, expected: &str) -> bool {
    same(&hash(word), expected)
}

/// Compares in a time that tells only the lengths.
pub fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

/// HMAC-SHA-256 in hex.
pub fn signed(key: &str, text: &str) -> String {
    match Hmac::<Sha256>::new_from_slice(key.as_bytes()) {
        Ok(mut mac) => {
            mac.update(text.as_bytes());
            hex(&mac.finalize().into_bytes())
        }
        // HMAC takes keys of any length; nothing is equal to this.
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_random_and_known_by_their_hash() {
        let (a, b) = (random::<32>().unwrap(), random::<32>().unwrap());
        assert!(a != b && a.len() == 64);
        assert!(has_hash(&a, &hash(&a)) && !has_hash(&b, &hash(&a)) && !has_hash(&a, ""));
        // FIPS 180-2, B.1, and RFC 4231, 4.3.
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(
            signed("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
