//! The password of the build machine's user. Only its hash leaves this machine.

use anyhow::{Result, anyhow, ensure};
use rustls::crypto::ring;
use sha_crypt::{Algorithm, Params, PasswordHasher, ShaCrypt};

use cml::Secret;

/// The minimum length. The machine's sshd accepts passwords, and the lab's network may be large.
const SHORTEST: usize = 8;

/// The rounds of SHA-512: libcrypt accepts this number, and it makes guessing slow.
const ROUNDS: u32 = 100_000;

/// Letters and digits that do not look alike.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A random password: 20 letters of 5 bits each.
pub fn generate() -> Result<Secret> {
    let letters: String = random::<20>()?.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    let groups = [&letters[..5], &letters[5..10], &letters[10..15], &letters[15..]];
    Ok(Secret::new(groups.join("-")))
}

/// Checks that a password is strong enough for a machine on a network.
pub fn check(password: &Secret, user: &str) -> Result<()> {
    let text = password.reveal();
    ensure!(!text.chars().any(char::is_control), "the password contains control characters");
    ensure!(text.chars().count() >= SHORTEST, "the password must have at least {SHORTEST} characters");
    ensure!(text != user, "the password must differ from the user's name");
    Ok(())
}

/// The hash for `/etc/shadow`: SHA-512 with a random salt.
pub fn hash(password: &Secret) -> Result<String> {
    let params = Params::new(ROUNDS).map_err(|error| anyhow!("{error}"))?;
    let hasher = ShaCrypt::new(Algorithm::Sha512Crypt, params);
    let hash = hasher.hash_password_with_salt(password.reveal().as_bytes(), &random::<12>()?);
    Ok(hash.map_err(|error| anyhow!("could not hash the password: {error}"))?.as_str().to_owned())
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let source = ring::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| anyhow!("this machine provides no random numbers"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_one_that_libcrypt_makes_from_the_same_password_and_salt() {
        // What `openssl passwd -6 -salt saltstring` prints for it, as the specification of SHA-crypt does.
        let known = "$6$rounds=10000$saltstringsaltst$\
                     OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.";
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
    fn passwords_and_salts_are_random() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert!(one != two && check(&one, "builder").is_ok());
        assert_ne!(hash(&one).unwrap(), hash(&one).unwrap());
    }

    #[test]
    fn weak_passwords_are_refused() {
        for weak in ["", "cisco", "1234567", "buildmachine", "a\tlong one with a tab"] {
            assert!(check(&Secret::new(weak), "buildmachine").is_err(), "{weak}");
        }
    }
}
