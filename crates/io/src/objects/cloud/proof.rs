//! That a store received what was sent (rule W10): the log is recycled on the strength of its answer.
//!
//! 1. The request carries the body's MD5 where its signature does not cover the headers: then the store compares, and
//!    refuses what does not fit.
//! 2. Else the answer's checksum, made by the store from what it received, is compared here.
//! 3. Where neither says that it fits, the object is read back; that is a whole GET, and the last resort.

use bytes::Bytes;
use md5::{Digest, Md5};
use object_store::client::{HttpRequest, HttpResponse};

use crate::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

const MD5: &str = "content-md5";
/// Azure's answer to a PUT without [`MD5`].
const CRC64: &str = "x-ms-content-crc64";

/// Travels with a PUT to the HTTP client and back.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    body: Bytes,
    holds: Arc<AtomicBool>,
}

impl Proof {
    pub(super) fn of(body: Bytes) -> Self {
        Self { body, holds: Arc::new(AtomicBool::new(false)) }
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    /// Whether the store has the body, as far as its answer tells.
    pub(super) fn holds(&self) -> bool {
        self.holds.load(Ordering::Acquire)
    }

    /// Lets the store compare, if the request may be changed; says whether it does.
    pub(super) fn demand(&self, request: &mut HttpRequest) -> bool {
        let authorization = request.headers().get("authorization");
        // An account's key signs the headers too.
        if authorization.is_some_and(|value| value.as_bytes().starts_with(b"SharedKey")) {
            return false;
        }
        let md5 = self.md5().parse().expect("base64 is a header's value");
        request.headers_mut().insert(MD5, md5);
        true
    }

    /// A good answer came; `demanded`: to a request that the store had to compare.
    pub(super) fn answered(&self, demanded: bool, answer: &HttpResponse) {
        let said = |header: &str| answer.headers().get(header).map(|value| value.as_bytes());
        let holds = demanded
            || said(MD5).is_some_and(|md5| md5 == self.md5().as_bytes())
            || said(CRC64).is_some_and(|crc| crc == self.crc64().as_bytes());
        self.holds.store(holds, Ordering::Release);
    }

    fn md5(&self) -> String {
        base64(&Md5::digest(&self.body))
    }

    fn crc64(&self) -> String {
        base64(&crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &self.body).to_le_bytes())
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let word =
            part.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for at in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= part.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Proof, base64};
    use bytes::Bytes;

    #[test]
    fn checksums_are_written_as_the_stores_write_them() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        let proof = Proof::of(Bytes::from_static(b"123456789"));
        assert_eq!(proof.md5(), "JfnnlDI7RTiF9RgfG2JNCw==");
        assert_eq!(proof.crc64(), base64(&0xae8b_1486_0a79_9888_u64.to_le_bytes()));
    }
}
