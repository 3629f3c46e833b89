//! Settings from the environment: each bad one is named, none is repeated.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// Reads settings from environment variables. One that is not set, or is empty, is `None`: what it would
/// configure stays off. One that is set and cannot be used is a [`Config`](ErrorKind::Config) error that names
/// the variable, and never shows its value, which may be a secret.
///
/// ```
/// use agentchat_core::EnvReader;
///
/// # fn main() -> agentchat_core::Result<()> {
/// let env = EnvReader::of([("WORKERS", "4"), ("KEY", "not for logs")]);
/// assert_eq!(env.parse::<u32>("WORKERS", "a number")?, Some(4));
/// assert_eq!(env.text("HANDLE")?, None);
/// let error = env.parse::<u32>("KEY", "a number").expect_err("it is none");
/// assert!(error.to_string().contains("KEY must be a number"));
/// # Ok(()) }
/// ```
pub struct EnvReader(Source);

enum Source {
    Process,
    Given(HashMap<String, OsString>),
}

impl EnvReader {
    /// Reads the variables of this process.
    pub fn process() -> Self {
        Self(Source::Process)
    }

    /// Reads these, and none of the process: for tests, and for what comes from another place.
    pub fn of<N, V>(variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<OsString>,
    {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(Source::Given(variables.collect()))
    }

    /// The text of the variable `name`, without blanks at its ends.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming it, for text that is not UTF-8, has a control character, or is blank.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let value = match &self.0 {
            Source::Process => std::env::var_os(name),
            Source::Given(variables) => variables.get(name).cloned(),
        };
        let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
        let text = value.into_string().map_err(|_| fault(name, "must be UTF-8"))?;
        match text.trim() {
            "" => Err(fault(name, "is blank: unset it, or give it a value")),
            text if text.chars().any(char::is_control) => {
                Err(fault(name, "must not have control characters"))
            }
            text => Ok(Some(text.to_owned())),
        }
    }

    /// What the variable `name` says, as a `T`; `expected` says in an error what it should have been.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the variable.
    pub fn parse<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>> {
        let parsed = |text: String| text.parse().map_err(|_| fault(name, &format!("must be {expected}")));
        self.text(name)?.map(parsed).transpose()
    }

    /// What `make` makes of the variable `name`. Its errors become part of one that names the variable: they
    /// must not repeat the value, as no error of this project does.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the variable.
    pub fn with<T>(&self, name: &str, make: impl FnOnce(String) -> Result<T>) -> Result<Option<T>> {
        let named = |error: Error| fault(name, &format!("cannot be used: {error}")).with_source(error);
        self.text(name)?.map(|text| make(text).map_err(named)).transpose()
    }

    /// Whether the variable `name` says yes: `true`, `yes`, `on` or `1`, in letters of any case; `false`,
    /// `no`, `off` and `0` say no.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the variable, for anything else.
    pub fn flag(&self, name: &str) -> Result<Option<bool>> {
        let read = |text: String| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(fault(name, "must be true or false")),
        };
        self.text(name)?.map(read).transpose()
    }

    /// The error for the variable `name`, of which `what` is wrong: "must be shorter". For rules among
    /// several variables.
    pub fn fault(name: &str, what: &str) -> Error {
        fault(name, what)
    }
}

impl fmt::Debug for EnvReader {
    /// No values, which may be secrets, and no names, which are many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Process => "EnvReader(process)",
            Source::Given(_) => "EnvReader(given)",
        })
    }
}

fn fault(name: &str, what: &str) -> Error {
    Error::new(ErrorKind::Config, "environment", format!("{name} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_or_empty_is_nothing() {
        let env = EnvReader::of([("EMPTY", "")]);
        assert_eq!(env.text("EMPTY").expect("fine"), None);
        assert_eq!(env.flag("MISSING").expect("fine"), None);
        assert_eq!(env.parse::<u16>("MISSING", "a port").expect("fine"), None);
        assert!(env.with("MISSING", |_| -> Result<()> { panic!("asked") }).expect("fine").is_none());
        assert_eq!(EnvReader::process().text("NO_SUCH_VARIABLE_4711").expect("fine"), None);
    }

    #[test]
    fn what_is_set_is_read() {
        let env = EnvReader::of([("A", " text "), ("B", "ON"), ("C", "0"), ("D", "80")]);
        assert_eq!(env.text("A").expect("fine").as_deref(), Some("text"));
        assert_eq!((env.flag("B").expect("fine"), env.flag("C").expect("fine")), (Some(true), Some(false)));
        assert_eq!(env.parse::<u16>("D", "a port").expect("fine"), Some(80));
        assert_eq!(env.with("A", Ok).expect("fine").as_deref(), Some("text"));
        assert!(EnvReader::process().text("PATH").expect("readable").is_some());
    }

    #[test]
    fn each_bad_value_is_named_and_none_is_shown() {
        let env = EnvReader::of([("V", "SECRET"), ("BLANK", "  "), ("LINES", "SEC\nRET")]);
        let inner = |_| -> Result<()> { Err(Error::new(ErrorKind::Invalid, "key", "too short")) };
        for (error, says) in [
            (env.text("BLANK").map(drop), "BLANK is blank"),
            (env.text("LINES").map(drop), "LINES must not have control characters"),
            (env.flag("V").map(drop), "V must be true or false"),
            (env.parse::<u16>("V", "a port").map(drop), "V must be a port"),
            (env.with("V", inner).map(drop), "V cannot be used: key: too short"),
        ] {
            let error = error.expect_err(says);
            assert_eq!(error.kind(), ErrorKind::Config);
            let shown = format!("{error} {error:?} {env:?}");
            assert!(shown.contains(says) && !shown.contains("SECRET"), "{shown}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_text_is_named() {
        use std::os::unix::ffi::OsStringExt;
        let env = EnvReader::of([("V", OsString::from_vec(vec![b'a', 0xff]))]);
        assert!(env.text("V").expect_err("no text").to_string().contains("V must be UTF-8"));
    }
}
