//! The ciphers of SRTP: key derivation (RFC 3711 §4.3, rate 0), AES-GCM (RFC 7714 §8–9), AES-CM with HMAC-SHA1-80
//! (RFC 3711 §4.1.1, §4.2). Works on one packet whose index is already decided; keeps no state between packets.

use super::{SrtpError, RTCP_CLEAR_BYTES, SRTCP_ENCRYPTED};
use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_128_GCM, AES_256_GCM};
use aws_lc_rs::cipher::{EncryptingKey, EncryptionContext, UnboundCipherKey, AES_128, AES_256};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

const GCM_TAG_BYTES: usize = 16;
const HMAC_TAG_BYTES: usize = 10;
const SRTCP_WORD_BYTES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    AeadAes256Gcm,
    AeadAes128Gcm,
    AesCm128HmacSha1_80,
}

impl Profile {
    /// By the names of the DTLS-SRTP registry as `_forwarder.pyi` spells them.
    pub fn from_name(name: &str) -> Option<Profile> {
        Some(match name {
            "AEAD_AES_256_GCM" => Profile::AeadAes256Gcm,
            "AEAD_AES_128_GCM" => Profile::AeadAes128Gcm,
            "AES_CM_128_HMAC_SHA1_80" => Profile::AesCm128HmacSha1_80,
            _ => return None,
        })
    }

    pub fn key_bytes(self) -> usize {
        match self {
            Profile::AeadAes256Gcm => 32,
            Profile::AeadAes128Gcm | Profile::AesCm128HmacSha1_80 => 16,
        }
    }

    pub fn salt_bytes(self) -> usize {
        match self {
            Profile::AeadAes256Gcm | Profile::AeadAes128Gcm => 12,
            Profile::AesCm128HmacSha1_80 => 14,
        }
    }

    /// Bytes a protected RTP packet is longer than the plain one.
    pub fn rtp_overhead(self) -> usize {
        match self {
            Profile::AeadAes256Gcm | Profile::AeadAes128Gcm => GCM_TAG_BYTES,
            Profile::AesCm128HmacSha1_80 => HMAC_TAG_BYTES,
        }
    }

    pub fn rtcp_overhead(self) -> usize {
        self.rtp_overhead() + SRTCP_WORD_BYTES
    }
}

/// The key's length does not fit the profile, or the library refused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKey;

impl std::fmt::Display for BadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("srtp key does not fit the profile")
    }
}

impl std::error::Error for BadKey {}

/// Labels of the key derivation function (RFC 3711 §4.3.1, §4.3.2).
mod label {
    pub(super) const RTP: [u8; 3] = [0, 1, 2];
    pub(super) const RTCP: [u8; 3] = [3, 4, 5];
}

pub(super) struct SessionCipher {
    profile: Profile,
    keys: Keys,
}

struct CounterMode {
    key: EncryptingKey,
    salt: [u8; 14],
    mac: hmac::Key,
}

enum Keys {
    Gcm { key: LessSafeKey, salt: [u8; 12] },
    CounterMode(Box<CounterMode>),
}

impl SessionCipher {
    /// Session keys for RTP and for RTCP from one master key and salt.
    pub(super) fn derive_pair(profile: Profile, master: &[u8]) -> Result<(Self, Self), BadKey> {
        if master.len() != profile.key_bytes() + profile.salt_bytes() {
            return Err(BadKey);
        }
        let (key, salt) = master.split_at(profile.key_bytes());
        let mut padded_salt = [0; 14];
        padded_salt[..salt.len()].copy_from_slice(salt);
        let derive = |labels| Self::derive(profile, key, &padded_salt, labels);
        Ok((derive(label::RTP)?, derive(label::RTCP)?))
    }

    fn derive(
        profile: Profile,
        master_key: &[u8],
        master_salt: &[u8; 14],
        [key_label, mac_label, salt_label]: [u8; 3],
    ) -> Result<Self, BadKey> {
        let mut key = [0; 32];
        let key = &mut key[..profile.key_bytes()];
        derive_bytes(master_key, master_salt, key_label, key)?;
        let keys = match profile {
            Profile::AeadAes256Gcm | Profile::AeadAes128Gcm => {
                let algorithm = if profile == Profile::AeadAes256Gcm { &AES_256_GCM } else { &AES_128_GCM };
                let mut salt = [0; 12];
                derive_bytes(master_key, master_salt, salt_label, &mut salt)?;
                let key = UnboundKey::new(algorithm, key).map_err(|_| BadKey)?;
                Keys::Gcm { key: LessSafeKey::new(key), salt }
            }
            Profile::AesCm128HmacSha1_80 => {
                let mut salt = [0; 14];
                derive_bytes(master_key, master_salt, salt_label, &mut salt)?;
                let mut mac = [0; 20];
                derive_bytes(master_key, master_salt, mac_label, &mut mac)?;
                let mac = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &mac);
                Keys::CounterMode(Box::new(CounterMode { key: counter_mode_key(key)?, salt, mac }))
            }
        };
        Ok(SessionCipher { profile, keys })
    }

    pub(super) fn rtp_overhead(&self) -> usize {
        self.profile.rtp_overhead()
    }

    pub(super) fn rtcp_overhead(&self) -> usize {
        self.profile.rtcp_overhead()
    }

    /// Where the SRTCP index word stands: last under GCM, before the tag under HMAC.
    pub(super) fn rtcp_word_from_end(&self) -> usize {
        match self.keys {
            Keys::Gcm { .. } => SRTCP_WORD_BYTES,
            Keys::CounterMode(_) => SRTCP_WORD_BYTES + HMAC_TAG_BYTES,
        }
    }

    /// Callers have checked that header and tag fit.
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, SrtpError> {
        let plain_len = packet.len() - self.rtp_overhead();
        match &self.keys {
            Keys::Gcm { key, salt } => {
                let (header, body) = packet.split_at_mut(header_len);
                let nonce = gcm_rtp_nonce(salt, ssrc, index);
                key.open_in_place(nonce, Aad::from(&*header), body).map_err(|_| SrtpError::Unauthenticated)?;
            }
            Keys::CounterMode(mode) => {
                let CounterMode { key, salt, mac } = &**mode;
                let (plain, tag) = packet.split_at_mut(plain_len);
                let mut context = hmac::Context::with_key(mac);
                context.update(plain);
                context.update(&((index >> 16) as u32).to_be_bytes());
                check_tag(context, tag)?;
                crypt(key, salt, ssrc, index, &mut plain[header_len..])?;
            }
        }
        Ok(plain_len)
    }

    pub(super) fn seal_rtp(
        &self,
        buf: &mut [u8],
        len: usize,
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, SrtpError> {
        let sealed_len = len + self.rtp_overhead();
        let (plain, tag_space) = buf[..sealed_len].split_at_mut(len);
        let (header, body) = plain.split_at_mut(header_len);
        match &self.keys {
            Keys::Gcm { key, salt } => {
                let nonce = gcm_rtp_nonce(salt, ssrc, index);
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(&*header), body)
                    .map_err(|_| SrtpError::Malformed)?;
                tag_space.copy_from_slice(tag.as_ref());
            }
            Keys::CounterMode(mode) => {
                let CounterMode { key, salt, mac } = &**mode;
                crypt(key, salt, ssrc, index, body)?;
                let mut context = hmac::Context::with_key(mac);
                context.update(plain);
                context.update(&((index >> 16) as u32).to_be_bytes());
                tag_space.copy_from_slice(&context.sign().as_ref()[..HMAC_TAG_BYTES]);
            }
        }
        Ok(sealed_len)
    }

    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<usize, SrtpError> {
        let plain_len = packet.len() - self.rtcp_overhead();
        match &self.keys {
            Keys::Gcm { key, salt } => {
                let word_at = packet.len() - SRTCP_WORD_BYTES;
                let (sealed, word) = packet.split_at_mut(word_at);
                let (head, body) = sealed.split_at_mut(RTCP_CLEAR_BYTES);
                let aad = gcm_rtcp_aad(head, word);
                key.open_in_place(gcm_rtcp_nonce(salt, ssrc, index), Aad::from(&aad), body)
                    .map_err(|_| SrtpError::Unauthenticated)?;
            }
            Keys::CounterMode(mode) => {
                let CounterMode { key, salt, mac } = &**mode;
                let tag_at = packet.len() - HMAC_TAG_BYTES;
                let (signed, tag) = packet.split_at_mut(tag_at);
                let mut context = hmac::Context::with_key(mac);
                context.update(signed);
                check_tag(context, tag)?;
                crypt(key, salt, ssrc, u64::from(index), &mut signed[RTCP_CLEAR_BYTES..plain_len])?;
            }
        }
        Ok(plain_len)
    }

    pub(super) fn seal_rtcp(&self, buf: &mut [u8], len: usize, ssrc: u32, index: u32) -> Result<usize, SrtpError> {
        let sealed_len = len + self.rtcp_overhead();
        let word = (index | SRTCP_ENCRYPTED).to_be_bytes();
        let (plain, trailer) = buf[..sealed_len].split_at_mut(len);
        let (head, body) = plain.split_at_mut(RTCP_CLEAR_BYTES);
        match &self.keys {
            Keys::Gcm { key, salt } => {
                let aad = gcm_rtcp_aad(head, &word);
                let tag = key
                    .seal_in_place_separate_tag(gcm_rtcp_nonce(salt, ssrc, index), Aad::from(&aad), body)
                    .map_err(|_| SrtpError::Malformed)?;
                trailer[..GCM_TAG_BYTES].copy_from_slice(tag.as_ref());
                trailer[GCM_TAG_BYTES..].copy_from_slice(&word);
            }
            Keys::CounterMode(mode) => {
                let CounterMode { key, salt, mac } = &**mode;
                crypt(key, salt, ssrc, u64::from(index), body)?;
                trailer[..SRTCP_WORD_BYTES].copy_from_slice(&word);
                let mut context = hmac::Context::with_key(mac);
                context.update(plain);
                context.update(&word);
                trailer[SRTCP_WORD_BYTES..].copy_from_slice(&context.sign().as_ref()[..HMAC_TAG_BYTES]);
            }
        }
        Ok(sealed_len)
    }
}

fn check_tag(context: hmac::Context, tag: &[u8]) -> Result<(), SrtpError> {
    let computed = context.sign();
    aws_lc_rs::constant_time::verify_slices_are_equal(&computed.as_ref()[..HMAC_TAG_BYTES], tag)
        .map_err(|_| SrtpError::Unauthenticated)
}

/// RFC 7714 §8.1: (00 00 ‖ SSRC ‖ ROC ‖ SEQ) xor salt.
fn gcm_rtp_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut iv = [0; 12];
    iv[2..6].copy_from_slice(&ssrc.to_be_bytes());
    iv[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    xor_nonce(iv, salt)
}

/// RFC 7714 §9.1: (00 00 ‖ SSRC ‖ 00 00 ‖ index) xor salt.
fn gcm_rtcp_nonce(salt: &[u8; 12], ssrc: u32, index: u32) -> Nonce {
    let mut iv = [0; 12];
    iv[2..6].copy_from_slice(&ssrc.to_be_bytes());
    iv[8..].copy_from_slice(&index.to_be_bytes());
    xor_nonce(iv, salt)
}

fn xor_nonce(mut iv: [u8; 12], salt: &[u8; 12]) -> Nonce {
    for (byte, salt_byte) in iv.iter_mut().zip(salt) {
        *byte ^= salt_byte;
    }
    Nonce::assume_unique_for_key(iv)
}

/// RFC 7714 §9.2: the clear header and the index word with its E bit.
fn gcm_rtcp_aad(head: &[u8], word: &[u8]) -> [u8; RTCP_CLEAR_BYTES + SRTCP_WORD_BYTES] {
    let mut aad = [0; RTCP_CLEAR_BYTES + SRTCP_WORD_BYTES];
    aad[..RTCP_CLEAR_BYTES].copy_from_slice(head);
    aad[RTCP_CLEAR_BYTES..].copy_from_slice(word);
    aad
}

fn counter_mode_key(key: &[u8]) -> Result<EncryptingKey, BadKey> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let key = UnboundCipherKey::new(algorithm, key).map_err(|_| BadKey)?;
    EncryptingKey::ctr(key).map_err(|_| BadKey)
}

/// RFC 3711 §4.1.1: IV = salt·2¹⁶ xor ssrc·2⁶⁴ xor index·2¹⁶; the same operation encrypts and decrypts.
fn crypt(key: &EncryptingKey, salt: &[u8; 14], ssrc: u32, index: u64, body: &mut [u8]) -> Result<(), SrtpError> {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    for (byte, x) in iv[4..8].iter_mut().zip(ssrc.to_be_bytes()) {
        *byte ^= x;
    }
    for (byte, x) in iv[8..14].iter_mut().zip(&index.to_be_bytes()[2..]) {
        *byte ^= x;
    }
    apply_keystream(key, iv, body).map_err(|_| SrtpError::Malformed)
}

fn apply_keystream(key: &EncryptingKey, iv: [u8; 16], body: &mut [u8]) -> Result<(), aws_lc_rs::error::Unspecified> {
    key.less_safe_encrypt(body, EncryptionContext::Iv128(FixedLength::from(iv))).map(|_| ())
}

/// RFC 3711 §4.3: keystream under the master key with IV = (label·2⁴⁸ xor salt)·2¹⁶ (rate 0, so r = 0).
fn derive_bytes(master_key: &[u8], master_salt: &[u8; 14], label: u8, out: &mut [u8]) -> Result<(), BadKey> {
    let key = counter_mode_key(master_key)?;
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(master_salt);
    iv[7] ^= label;
    out.fill(0);
    apply_keystream(&key, iv, out).map_err(|_| BadKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn key_derivation_gives_the_values_of_rfc_3711_appendix_b_3() {
        let key = bytes("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt: [u8; 14] = bytes("0EC675AD498AFEEBB6960B3AABE6").try_into().unwrap();
        let mut cipher_key = [0; 16];
        derive_bytes(&key, &salt, 0, &mut cipher_key).unwrap();
        assert_eq!(cipher_key.to_vec(), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
        let mut cipher_salt = [0; 14];
        derive_bytes(&key, &salt, 2, &mut cipher_salt).unwrap();
        assert_eq!(cipher_salt.to_vec(), bytes("30CBBC08863D8C85D49DB34A9AE1"));
        let mut auth_key = [0; 94];
        derive_bytes(&key, &salt, 1, &mut auth_key).unwrap();
        assert_eq!(auth_key[..32].to_vec(), bytes("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE"));
    }

    #[test]
    fn counter_mode_keystream_is_that_of_rfc_3711_appendix_b_2() {
        let key = counter_mode_key(&bytes("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let salt: [u8; 14] = bytes("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
        let mut keystream = [0; 48];
        crypt(&key, &salt, 0, 0, &mut keystream).unwrap();
        let expected =
            "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0";
        assert_eq!(keystream.to_vec(), bytes(expected));
    }

    fn gcm_session(key: &str) -> SessionCipher {
        let key = bytes(key);
        let (profile, algorithm) = match key.len() {
            32 => (Profile::AeadAes256Gcm, &AES_256_GCM),
            _ => (Profile::AeadAes128Gcm, &AES_128_GCM),
        };
        let salt = bytes("517569642070726f2071756f").try_into().unwrap();
        let key = LessSafeKey::new(UnboundKey::new(algorithm, &key).unwrap());
        SessionCipher { profile, keys: Keys::Gcm { key, salt } }
    }

    const RTP: &str = "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e697320646976697361\
                       20696e207061727465732074726573";

    #[test]
    fn gcm_rtp_matches_rfc_7714_section_16() {
        let plain = bytes(RTP);
        let cases = [
            (
                "000102030405060708090a0b0c0d0e0f",
                "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
            ),
            (
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
            ),
        ];
        for (key, sealed) in cases {
            let cipher = gcm_session(key);
            let mut buf = vec![0; plain.len() + 16];
            buf[..plain.len()].copy_from_slice(&plain);
            let len = cipher.seal_rtp(&mut buf, plain.len(), 12, 0x5501_a0b2, 0xf17b).unwrap();
            assert_eq!(buf[..len].to_vec(), bytes(sealed));
            assert_eq!(cipher.open_rtp(&mut buf, 12, 0x5501_a0b2, 0xf17b), Ok(plain.len()));
            assert_eq!(buf[..plain.len()].to_vec(), plain);
        }
    }
}
