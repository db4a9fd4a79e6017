//! The password of the build machine's user: of it only a hash leaves this machine.

use anyhow::{Result, anyhow, ensure};
use rustls::crypto::ring;
use sha_crypt::{Algorithm, Params, PasswordHasher, ShaCrypt};

use cml::secret::Secret;

/// The shortest that is taken. The machine's sshd takes passwords, and the lab's network may be a large one.
const SHORTEST: usize = 8;

/// How often SHA-512 is applied: what libcrypt reads, and slow enough to guess at.
const ROUNDS: u32 = 100_000;

/// Without those that look alike.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A password that nobody else has: 20 letters of 5 bits each.
///
/// # Errors
/// If this machine has no random numbers.
pub fn generate() -> Result<Secret> {
    let letters: String = random::<20>()?.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    let (head, tail) = letters.split_at(10);
    Ok(Secret::new(format!("{}-{}-{}-{}", &head[..5], &head[5..], &tail[..5], &tail[5..])))
}

/// # Errors
/// If it is too weak to be let in with.
pub fn check(password: &Secret, user: &str) -> Result<()> {
    let text = password.reveal();
    ensure!(!text.chars().any(char::is_control), "the password holds control characters");
    ensure!(text.chars().count() >= SHORTEST, "the password must have at least {SHORTEST} characters");
    ensure!(text != user, "the password must not be the user's name");
    Ok(())
}

/// The hash as `/etc/shadow` has it: SHA-512, with a salt of its own.
///
/// # Errors
/// If this machine has no random numbers.
pub fn hash(password: &Secret) -> Result<String> {
    let params = Params::new(ROUNDS).map_err(|error| anyhow!("{error}"))?;
    let hasher = ShaCrypt::new(Algorithm::Sha512Crypt, params);
    let hash = hasher.hash_password_with_salt(password.reveal().as_bytes(), &random::<12>()?);
    Ok(hash.map_err(|error| anyhow!("the password can't be hashed: {error}"))?.as_str().to_owned())
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let source = ring::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| anyhow!("this machine has no random numbers"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_one_that_libcrypt_makes_of_the_same_password_and_salt() {
        // What `openssl passwd -6 -salt saltstring` prints for it, as the specification of SHA-crypt does.
        let known = "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.";
        let params = Params::new(10_000).unwrap();
        let reference = sha_crypt::PasswordHash::new(known).unwrap();
        let hasher = ShaCrypt::new(Algorithm::Sha512Crypt, params);
        sha_crypt::PasswordVerifier::verify_password(&hasher, b"Hello world!", &reference).unwrap();
        let ours = sha_crypt::PasswordHash::new(hash(&Secret::new("Hello world!")).unwrap()).unwrap();
        assert!(ours.as_str().starts_with("$6$rounds=100000$"));
        sha_crypt::PasswordVerifier::verify_password(&hasher, b"Hello world!", &ours).unwrap();
        assert!(sha_crypt::PasswordVerifier::verify_password(&hasher, b"hello world!", &ours).is_err());
    }

    #[test]
    fn no_two_are_alike() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert!(one != two && check(&one, "builder").is_ok());
        assert_ne!(hash(&one).unwrap(), hash(&one).unwrap());
    }

    #[test]
    fn what_anybody_would_try_is_refused() {
        for weak in ["", "cisco", "1234567", "buildmachine", "a\tlong one with a tab"] {
            assert!(check(&Secret::new(weak), "buildmachine").is_err(), "{weak}");
        }
    }
}
