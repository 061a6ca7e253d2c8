//! What can be wrong with a token.

/// What is wrong with the token; all of it the operator's.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The module.
    #[error(
        "the PKCS#11 module {path}: {why}; is vault.pkcs11_module the shared library that the token's maker gives?"
    )]
    Module {
        /// Where.
        path: String,
        /// What the loader or the module said.
        why: String,
    },
    /// No such token.
    #[error(
        "there is no token '{label}' (the module sees {seen}); is it plugged in or reachable, can this user read it, \
         and is vault.pkcs11_token its label?"
    )]
    NoToken {
        /// The configured label.
        label: String,
        /// What is there instead.
        seen: String,
    },
    /// Several of that label.
    #[error(
        "there are {0} tokens '{1}', and Matron takes none by chance; unplug the others or give them another label"
    )]
    SeveralTokens(usize, String),
    /// The token is no use.
    #[error("the token '{label}' can't do what Matron needs: {missing}")]
    Lacks {
        /// Which token.
        label: String,
        /// What it lacks.
        missing: String,
    },
    /// Refused before anything was tried.
    #[error(
        "the token '{0}' allows one more try of its PIN before it locks itself, and that one is left to a person: log in \
         with the maker's tool, which sets the count back, then start Matron again"
    )]
    FinalTry(String),
    /// It is locked.
    #[error(
        "the token '{0}' has locked its PIN; unlock it with the maker's tool and the security officer's PIN"
    )]
    Locked(String),
    /// Wrong.
    #[error(
        "the token '{0}' refuses the PIN. Matron does not try again, since a token locks itself after some tries: put \
         the right one into vault.pkcs11_pin_file (or the credential), then start again"
    )]
    Pin(String),
    /// No such keys.
    #[error(
        "the token '{label}' holds no key '{key}': another token than the one this house was made with, or \
         vault.pkcs11_keys is not what it was then"
    )]
    NoKey {
        /// Which token.
        label: String,
        /// Which key.
        key: String,
    },
    /// Another house's keys.
    #[error(
        "the token '{label}' holds a key '{key}' already: another house's, or an older one's. Give this house another \
         name for its keys with vault.pkcs11_keys"
    )]
    KeyThere {
        /// Which token.
        label: String,
        /// Which key.
        key: String,
    },
    /// The key is not fit.
    #[error("the key '{key}' on the token '{label}' {why}; it was not made by Matron, and is not used")]
    Unfit {
        /// Which token.
        label: String,
        /// Which key.
        key: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A call failed.
    #[error("the token '{label}', {what}: {why}")]
    Call {
        /// Which token.
        label: String,
        /// What was to be done.
        what: &'static str,
        /// What the module said.
        why: String,
    },
}
