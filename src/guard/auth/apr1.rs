//! Apache's own hash of passwords, `$apr1$` (`apr_md5.c`): MD5 in a thousand rounds.

use md5::{Digest, Md5};

/// The 22 digits behind the salt.
pub fn sum(password: &[u8], salt: &[u8]) -> [u8; 22] {
    let mut sum = first(password, salt);
    for round in 0..1000 {
        let mut md5 = Md5::new();
        let (begin, end) = if round % 2 == 1 { (password, &sum[..]) } else { (&sum[..], password) };
        md5.update(begin);
        if round % 3 != 0 {
            md5.update(salt);
        }
        if round % 7 != 0 {
            md5.update(password);
        }
        md5.update(end);
        sum = md5.finalize().into();
    }
    digits(&sum)
}

fn first(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let twice =
        Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut md5 = Md5::new().chain_update(password).chain_update(b"$apr1$").chain_update(salt);
    for part in password.chunks(twice.len()) {
        md5.update(&twice[..part.len()]);
    }
    let mut length = password.len();
    while length > 0 {
        // As it was first written: the zero where a byte of the sum was meant is part of the format.
        md5.update(if length % 2 == 1 { &[0] } else { &password[..1] });
        length /= 2;
    }
    md5.finalize().into()
}

/// In crypt's base 64, the bytes in crypt's order.
fn digits(sum: &[u8; 16]) -> [u8; 22] {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut digits = [b'.'; 22];
    let (most, last) = digits.split_at_mut(20);
    for (four, [high, middle, low]) in most.chunks_exact_mut(4).zip(ORDER) {
        let mut value = u32::from_be_bytes([0, sum[high], sum[middle], sum[low]]);
        for digit in four {
            *digit = DIGITS[value as usize % 64];
            value /= 64;
        }
    }
    last.copy_from_slice(&[DIGITS[usize::from(sum[11]) % 64], DIGITS[usize::from(sum[11]) / 64]]);
    digits
}
