//! Who the writer of a bucket is: its access key, given or found where S3 programs look for it.
//!
//! The order is that of Amazon's own tools: the variables `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` (with
//! `AWS_SESSION_TOKEN`), then the profile `AWS_PROFILE` (or `default`) of `~/.aws/credentials` and `~/.aws/config`.
//! Roles that a machine has by itself come last and only for Amazon's own endpoints; see `identity.rs`.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::BucketError;

/// Most bytes of a file of profiles that are read.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// What is told as the operation that failed.
const OPERATION: &str = "finding the access key";

/// The access key of a bucket's writer. Its secrets never appear in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The public half, sent with each request.
    pub access_key: String,
    /// The secret half, which only signs.
    pub secret_key: String,
    /// Sent along where the key is one for a session.
    pub session_token: Option<String>,
}

impl Credentials {
    /// Credentials of these two halves.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into(), session_token: None }
    }

    /// These credentials without the white space that is copied along, if a request can carry them: the access key and
    /// the token are part of its header, and a secret with an invisible character was not meant so.
    pub(crate) fn checked(self) -> Result<Self, BucketError> {
        let check = |what, text: &str, may_be_any_text: bool| {
            let text = text.trim();
            let invalid = |reason| Err(BucketError::InvalidCredentials { what, reason });
            if text.is_empty() {
                return invalid("is empty");
            }
            if text.chars().any(char::is_control) {
                return invalid("has a control character");
            }
            if !may_be_any_text && !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                return invalid("has a space or a character beyond ASCII");
            }
            Ok(text.to_owned())
        };
        Ok(Self {
            access_key: check("access key", &self.access_key, false)?,
            secret_key: check("secret key", &self.secret_key, true)?,
            session_token: self.session_token.map(|token| check("session token", &token, false)).transpose()?,
        })
    }

    /// Looks for an access key in the environment and in the user's files; none where there is none.
    ///
    /// Fails where half a key is set, a file cannot be read, or a profile that was asked for by name has no key.
    pub fn find() -> Result<Option<Self>, BucketError> {
        Self::find_in(&|name| std::env::var(name).ok())
    }

    /// Like [`Credentials::find`] with the environment as a function.
    pub(crate) fn find_in(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, BucketError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key), Some(secret_key)) => {
                return Ok(Some(Self { access_key, secret_key, session_token: variable("AWS_SESSION_TOKEN") }));
            }
            (None, None) => {}
            _ => return Err(refused("only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set".to_owned())),
        }
        let home = variable("HOME").map(|home| Path::new(&home).join(".aws"));
        let place = |name: &str, file: &str| {
            variable(name).map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(file)))
        };
        let wanted = variable("AWS_PROFILE");
        let profile = wanted.as_deref().unwrap_or("default");
        let of_config = if profile == "default" { profile.to_owned() } else { format!("profile {profile}") };
        let places = [
            (place("AWS_SHARED_CREDENTIALS_FILE", "credentials"), profile),
            (place("AWS_CONFIG_FILE", "config"), of_config.as_str()),
        ];
        for (path, section) in places {
            let Some(path) = path else { continue };
            if let Some(found) = read_file(&path)?.and_then(|text| of_section(&text, section)) {
                return Ok(Some(found));
            }
        }
        match wanted {
            Some(profile) => Err(refused(format!("the profile {profile:?} of AWS_PROFILE has no access key"))),
            None => Ok(None),
        }
    }
}

fn refused(reason: String) -> BucketError {
    BucketError::Refused { operation: OPERATION, reason, advice: "correct it, or set `bucket_access_key`".to_owned() }
}

/// The text of a file; none if there is no such file.
fn read_file(path: &Path) -> Result<Option<String>, BucketError> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(format!("{}: {error}", path.display()))),
    }
}

/// The key of one section of a file of profiles; none where half of it is missing.
fn of_section(text: &str, section: &str) -> Option<Credentials> {
    let (mut access_key, mut secret_key, mut session_token) = (None, None, None);
    let mut is_here = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            is_here = name.split_whitespace().eq(section.split_whitespace());
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| is_here && !line.starts_with(['#', ';'])) else {
            continue;
        };
        let slot = match name.trim().to_ascii_lowercase().as_str() {
            "aws_access_key_id" => &mut access_key,
            "aws_secret_access_key" => &mut secret_key,
            "aws_session_token" => &mut session_token,
            _ => continue,
        };
        *slot = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
    }
    Some(Credentials { access_key: access_key?, secret_key: secret_key?, session_token })
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(variables: &[(&str, &str)]) -> Result<Option<Credentials>, BucketError> {
        let variables = variables.to_vec();
        Credentials::find_in(&move |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_come_before_files_and_half_a_key_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let (keys, config) = (folder.path().join("keys"), folder.path().join("config"));
        std::fs::write(
            &keys,
            "# mine\n[default]\naws_access_key_id = one\naws_secret_access_key=first\n\n[ other ]\n\
             AWS_ACCESS_KEY_ID=two\naws_secret_access_key = second = half\naws_session_token = t\n[half]\n\
             aws_access_key_id = three\n",
        )
        .unwrap();
        std::fs::write(&config, "[profile late]\naws_access_key_id=four\naws_secret_access_key=fourth\n").unwrap();
        let files =
            [("AWS_SHARED_CREDENTIALS_FILE", keys.to_str().unwrap()), ("AWS_CONFIG_FILE", config.to_str().unwrap())];
        let with = |more: &[(&'static str, &'static str)]| find(&[&files[..], more].concat());
        assert_eq!(with(&[]).unwrap(), Some(Credentials::new("one", "first")));
        let other = with(&[("AWS_PROFILE", "other")]).unwrap().unwrap();
        assert_eq!((other.secret_key.as_str(), other.session_token.as_deref()), ("second = half", Some("t")));
        assert_eq!(with(&[("AWS_PROFILE", "late")]).unwrap(), Some(Credentials::new("four", "fourth")));
        for absent in ["half", "nobody"] {
            assert!(matches!(with(&[("AWS_PROFILE", absent)]), Err(BucketError::Refused { .. })));
        }
        let key = [("AWS_ACCESS_KEY_ID", "five"), ("AWS_SECRET_ACCESS_KEY", "fifth")];
        assert_eq!(with(&key).unwrap(), Some(Credentials::new("five", "fifth")));
        assert!(matches!(with(&key[..1]), Err(BucketError::Refused { .. })));
        assert_eq!(find(&[("HOME", folder.path().to_str().unwrap())]).unwrap(), None);
        assert_eq!(find(&[]).unwrap(), None);
    }

    #[test]
    fn white_space_at_the_ends_is_cut_off_and_what_no_header_carries_is_named() {
        let key = |access: &str, secret: &str| Credentials::new(access, secret).checked();
        assert_eq!(key(" miner-1\r\n", "\tse cret\n").unwrap(), Credentials::new("miner-1", "se cret"));
        for (access, secret, what) in [
            ("mi\rner", "s", "the access key has a control character"),
            ("miner\u{1}1", "s", "the access key has a control character"),
            ("mi ner", "s", "the access key has a space"),
            ("minér", "s", "the access key has a space or a character beyond ASCII"),
            ("\n", "s", "the access key is empty"),
            ("miner", "s\u{0}t", "the secret key has a control character"),
        ] {
            let error = key(access, secret).unwrap_err().to_string();
            assert!(error.contains(what) && !error.contains(access), "{error}");
        }
        let token = Credentials { session_token: Some("a\nb".to_owned()), ..Credentials::new("a", "b") };
        assert!(token.checked().unwrap_err().to_string().contains("the session token has a control character"));
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        let key = Credentials { session_token: Some("tell-nobody".to_owned()), ..Credentials::new("a", "secret") };
        assert!(!format!("{key:?}").contains("secret") && !format!("{key:?}").contains("nobody"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_file_of_profiles_is_read_without_a_panic(text in "([\\[\\]=#; a-z_\\n]|aws_access_key_id){0,60}") {
            let _ = of_section(&text, "default");
        }
    }
}
