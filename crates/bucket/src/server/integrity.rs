//! What a client says of the bytes that it sends, held against the bytes that came: an object that was damaged on the way
//! is refused, as S3 does.

use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::{S3Result, TrailingHeaders, s3_error};

/// The checks of S3 and the headers that carry them; behind the body where `x-amz-trailer` announces them.
const HEADERS: [&str; 5] = [
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-crc64nvme",
];
const MD5_HEADER: &str = "content-md5";
const TRAILER_HEADER: &str = "x-amz-trailer";

/// The checks that a request announces, over the bytes so far.
#[derive(Default)]
pub(super) struct Integrity {
    /// In base64, with the place in [`HEADERS`].
    claimed: Vec<(usize, String)>,
    md5: Option<(Md5, String)>,
    hasher: ChecksumHasher,
    trailer: Option<(usize, TrailingHeaders)>,
}

impl Integrity {
    /// Of a request's headers, and of those that come behind its body.
    pub(super) fn of(headers: &HeaderMap, trailing: Option<TrailingHeaders>) -> Self {
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim().to_owned());
        let claimed = HEADERS.iter().enumerate().filter_map(|(place, name)| Some((place, text(name)?))).collect();
        let announced = text(TRAILER_HEADER).map(|name| name.to_ascii_lowercase());
        let place = announced.and_then(|announced| HEADERS.iter().position(|name| *name == announced));
        let md5 = text(MD5_HEADER).map(|claimed| (Md5::new(), claimed));
        let mut integrity = Self { claimed, md5, hasher: ChecksumHasher::default(), trailer: place.zip(trailing) };
        let trailer = integrity.trailer.as_ref().map(|(place, _)| *place);
        let needed: Vec<usize> = integrity.claimed.iter().map(|(place, _)| *place).chain(trailer).collect();
        needed.into_iter().for_each(|place| integrity.compute(place));
        integrity
    }

    fn compute(&mut self, place: usize) {
        match place {
            0 => self.hasher.crc32 = Some(Crc32::new()),
            1 => self.hasher.crc32c = Some(Crc32c::new()),
            2 => self.hasher.sha1 = Some(Sha1::new()),
            3 => self.hasher.sha256 = Some(Sha256::new()),
            _ => self.hasher.crc64nvme = Some(Crc64Nvme::new()),
        }
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        if let Some((md5, _)) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    /// Fails where the bytes are not those that were announced.
    pub(super) fn check(mut self) -> S3Result<()> {
        if let Some((place, trailing)) = self.trailer.take() {
            let name = HEADERS[place];
            let value = trailing.read(|headers| Some(headers.get(name)?.to_str().ok()?.trim().to_owned())).flatten();
            self.claimed.extend(value.map(|value| (place, value)));
        }
        if let Some((md5, claimed)) = self.md5.take()
            && base64(md5.finalize().as_ref()) != claimed
        {
            return Err(s3_error!(
                BadDigest,
                "the bytes that came do not have the announced Content-MD5: send them again"
            ));
        }
        let sums = self.hasher.finalize();
        let computed = [
            sums.checksum_crc32,
            sums.checksum_crc32c,
            sums.checksum_sha1,
            sums.checksum_sha256,
            sums.checksum_crc64nvme,
        ];
        match self.claimed.iter().find(|(place, claimed)| computed[*place].as_ref() != Some(claimed)) {
            Some((place, _)) => {
                let name = HEADERS[*place];
                Err(s3_error!(BadDigest, "the bytes that came do not have the announced {name}: send them again"))
            }
            None => Ok(()),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &str)], bytes: &[u8]) -> S3Result<()> {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| drop(map.insert(*name, value.parse().unwrap())));
        let mut integrity = Integrity::of(&map, None);
        bytes.chunks(2).for_each(|part| integrity.update(part));
        integrity.check()
    }

    #[test]
    fn each_announced_check_is_made() {
        for (name, value) in [
            ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
            ("x-amz-checksum-crc32", "NhCmhg=="),
            ("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00="),
            ("x-amz-checksum-sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="),
        ] {
            check(&[(name, value)], b"hello").unwrap();
            let error = check(&[(name, value)], b"hellO").unwrap_err();
            assert!(error.code().as_str() == "BadDigest" && error.message().unwrap().to_lowercase().contains(name));
        }
        assert!(check(&[("content-md5", "AAAA")], b"hello").is_err());
        check(&[], b"hello").unwrap();
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
