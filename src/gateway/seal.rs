//! Sealed tokens: what a client carries for us and must neither read nor change. XChaCha20-Poly1305,
//! because its nonces are long enough to be counted up from a random start by every shard.
//!
//! The token is `rg1.` and the hexadecimal of nonce and ciphertext.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use ring::hmac;

use super::settings::Settings;
use crate::base::ShardId;

const PREFIX: &str = "rg1.";
const NONCE_BYTES: usize = 24;

/// See the module. One a shard.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    /// Twelve random bytes of the process, two of the shard, ten that count.
    nonce: [u8; NONCE_BYTES],
    count: u64,
    /// Makes the nonces of [`Sealer::seal_stable`].
    nonces: hmac::Key,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of every log.
        f.debug_struct("Sealer").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Sealer {
    pub fn new(settings: &Settings, shard: ShardId) -> Self {
        let mut nonce = [0; NONCE_BYTES];
        nonce[..12].copy_from_slice(&settings.nonce_seed);
        nonce[12..14].copy_from_slice(&shard.0.to_le_bytes());
        let label = b"ringgate: nonces of texts that are sealed alike";
        let nonces = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &settings.state_key), label);
        Self {
            cipher: XChaCha20Poly1305::new(&settings.state_key.into()),
            nonce,
            count: 0,
            nonces: hmac::Key::new(hmac::HMAC_SHA256, nonces.as_ref()),
        }
    }

    /// Whether a text is one of our tokens, by its look; only [`Sealer::open`] knows if it is good.
    pub fn is_token(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Seals `plain`, bound to `context`: it opens only under the same context.
    pub fn seal(&mut self, plain: &[u8], context: &[u8]) -> String {
        self.count += 1;
        self.nonce[16..].copy_from_slice(&self.count.to_le_bytes());
        self.seal_with(self.nonce, plain, context)
    }

    /// The same, and always alike: for names that must stay what they are. Its nonce is a keyed digest of what is
    /// sealed (as in RFC 5297), so that it is another for anything else.
    pub fn seal_stable(&self, plain: &[u8], context: &[u8]) -> String {
        let mut said = hmac::Context::with_key(&self.nonces);
        said.update(&(context.len() as u64).to_le_bytes());
        said.update(context);
        said.update(plain);
        let mut nonce = [0; NONCE_BYTES];
        nonce.iter_mut().zip(said.sign().as_ref()).for_each(|(to, from)| *to = *from);
        self.seal_with(nonce, plain, context)
    }

    fn seal_with(&self, nonce: [u8; NONCE_BYTES], plain: &[u8], context: &[u8]) -> String {
        let sealed = self
            .cipher
            .encrypt(XNonce::from_slice(&nonce), Payload { msg: plain, aad: context })
            .expect("only a text beyond 256 GiB cannot be encrypted");
        let mut token = String::with_capacity(PREFIX.len() + 2 * (NONCE_BYTES + sealed.len()));
        token.push_str(PREFIX);
        for byte in nonce.iter().chain(&sealed) {
            for nibble in [byte >> 4, byte & 15] {
                token.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        token
    }

    /// The plain bytes of a token made with the same key and context; `None` for anything else.
    pub fn open(&self, token: &str, context: &[u8]) -> Option<Vec<u8>> {
        let hex = token.strip_prefix(PREFIX)?.as_bytes();
        if hex.len() % 2 != 0 || hex.len() < 2 * NONCE_BYTES {
            return None;
        }
        // One spelling only: a token whose letters were raised is not the one that was given out.
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = hex
            .chunks_exact(2)
            .map(|pair| Some((digit(pair[0])? << 4) | digit(pair[1])?))
            .collect();
        let bytes = bytes?;
        let (nonce, sealed) = bytes.split_at(NONCE_BYTES);
        self.cipher.decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: context }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(key: u8) -> Sealer {
        Sealer::new(
            &Settings { state_key: [key; 32], nonce_seed: [7; 12], ..Settings::default() },
            ShardId(3),
        )
    }

    #[test]
    fn a_token_opens_with_its_key_and_context_only() {
        let mut ours = sealer(1);
        let token = ours.seal(b"flight 7", b"alice");
        assert!(Sealer::is_token(&token));
        assert_eq!(ours.open(&token, b"alice").as_deref(), Some(&b"flight 7"[..]));
        assert_eq!(ours.open(&token, b"bob"), None);
        assert_eq!(sealer(2).open(&token, b"alice"), None);
    }

    #[test]
    fn a_changed_or_cut_token_does_not_open() {
        let mut ours = sealer(1);
        let token = ours.seal(b"flight 7", b"");
        for at in 4..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(ours.open(&String::from_utf8(bytes).unwrap(), b""), None);
            assert_eq!(ours.open(&token[..at], b""), None);
            let raised = token[at..=at].to_ascii_uppercase();
            if raised != token[at..=at] {
                let token = format!("{}{raised}{}", &token[..at], &token[at + 1..]);
                assert_eq!(ours.open(&token, b""), None);
            }
        }
        assert_eq!(ours.open("", b""), None);
        assert_eq!(ours.open("rg1.zz", b""), None);
    }

    #[test]
    fn what_is_sealed_alike_is_the_same_token_and_no_other_text_or_context_gives_it() {
        let ours = sealer(1);
        let token = ours.seal_stable(b"task 7", b"alice");
        assert_eq!(ours.seal_stable(b"task 7", b"alice"), token);
        assert_eq!(ours.open(&token, b"alice").as_deref(), Some(&b"task 7"[..]));
        assert_eq!(ours.open(&token, b"bob"), None);
        let nonce = |token: &str| token[..PREFIX.len() + 2 * NONCE_BYTES].to_owned();
        for other in [
            ours.seal_stable(b"task 8", b"alice"),
            ours.seal_stable(b"task 7", b"bob"),
            ours.seal_stable(b"etask 7", b"alic"),
            sealer(2).seal_stable(b"task 7", b"alice"),
        ] {
            assert_ne!(nonce(&other), nonce(&token));
        }
    }

    #[test]
    fn no_two_tokens_share_a_nonce() {
        let mut ours = sealer(1);
        assert_ne!(ours.seal(b"x", b""), ours.seal(b"x", b""));
    }
}
