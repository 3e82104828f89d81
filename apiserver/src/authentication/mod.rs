//! Who asks: from a client certificate that TLS has verified, or from a bearer token; else nobody in particular.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`certificate`] | common name → user, organizations → groups |
//! | [`token`] | service account tokens: signed and verified; pure |
//! | [`account`] | whether what a token stands for still lives |
//! | [`bootstrap_token`] | what machines show that want to join |
//! | [`token_file`] | tokens that stand in a file |
//! | [`discovery`] | how others learn to verify tokens |
//! | [`request`] | the `serviceaccounts/token` subresource |
//! | [`impersonation`] | acting as somebody else, where that is allowed |
//! | [`review`] | TokenReview and SelfSubjectReview |
//!
//! Invariant: a token is as good as the objects it is bound to; a deleted account's token is worth nothing.

pub mod account;
pub mod bootstrap_token;
pub mod certificate;
pub mod discovery;
pub mod impersonation;
pub mod request;
pub mod review;
pub mod token;
pub mod token_file;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use jiff::Timestamp;
use kubelab_api::Error;
use kubelab_store::{Key, Store};

use crate::corridor::User;
use certificate::Holder;
use token::{Claims, Keys, Rejection};
use token_file::TokenFile;

/// Everyone who is somebody.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Everyone who is nobody.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Nobody.
pub const ANONYMOUS: &str = "system:anonymous";

/// Reads stored objects.
pub trait Lookup: Send + Sync {
    /// The JSON of an object, by its topic and its `namespace/name` or `name`.
    fn get(&self, topic: &str, name: &str) -> Option<Bytes>;
}

impl Lookup for Store {
    fn get(&self, topic: &str, name: &str) -> Option<Bytes> {
        self.local().get(&Key::new(topic, name)).map(|entry| entry.value.clone())
    }
}

/// What time it is.
pub type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// Tells who asks.
pub struct Authenticator {
    keys: Keys,
    lookup: Box<dyn Lookup>,
    now: Clock,
    file: TokenFile,
    anonymous: bool,
    /// Signatures that were found good: checking one takes longer than the rest of a request.
    verified: Mutex<HashMap<String, Arc<Claims>>>,
}

/// How many verified tokens are remembered. A token is about a kilobyte.
const REMEMBERED: usize = 1024;

impl Authenticator {
    /// An authenticator for tokens that `keys` have signed.
    pub fn new(keys: Keys, lookup: impl Lookup + 'static, now: Clock) -> Self {
        let file = TokenFile::default();
        Self { keys, lookup: Box::new(lookup), now, file, anonymous: true, verified: Mutex::default() }
    }

    /// Takes these tokens, too.
    #[must_use]
    pub fn with_tokens(mut self, file: TokenFile) -> Self {
        self.file = file;
        self
    }

    /// Whether those who show nothing are let in as nobody in particular.
    #[must_use]
    pub fn with_anonymous(mut self, anonymous: bool) -> Self {
        self.anonymous = anonymous;
        self
    }

    /// Who asks. The certificate must have been verified; it counts before a token. 401 for a token that is no good.
    pub fn authenticate(&self, holder: Option<&Holder>, bearer: Option<&str>) -> Result<User, Error> {
        if let Some(holder) = holder {
            let user = holder.as_ref().map_err(|error| {
                tracing::info!(%error, "a client certificate names nobody");
                Error::unauthorized()
            })?;
            return Ok(in_group(user.clone(), AUTHENTICATED));
        }
        let Some(token) = bearer else {
            return if self.anonymous { Ok(anonymous()) } else { Err(Error::unauthorized()) };
        };
        let (user, _) = self.user_of_token(token, &[]).map_err(|error| {
            tracing::info!(%error, "a bearer token was refused");
            Error::unauthorized()
        })?;
        Ok(in_group(user, AUTHENTICATED))
    }

    /// Whose token it is, and for which of the audiences; none stands for the API's own.
    fn user_of_token(&self, token: &str, audiences: &[String]) -> Result<(User, Vec<String>), Rejection> {
        let now = (self.now)();
        let other = self.file.user_of(token).map(|user| Ok(user.clone()));
        if let Some(user) = other.or_else(|| bootstrap_token::user_of(token, &*self.lookup, now)) {
            // These know of no audiences, so they are for the API alone.
            let own = self.keys.issuer().to_owned();
            let meant = audiences.is_empty() || audiences.contains(&own);
            let refused = || Rejection::Audience(vec![own.clone()], audiences.to_vec());
            return if meant { user.map(|user| (user, vec![own])) } else { Err(refused()) };
        }
        let claims = self.verify(token)?;
        let audiences = claims.check(now, audiences, self.keys.issuer())?;
        let user = account::user_of(&claims, token, &*self.lookup, now)?;
        Ok((user, audiences))
    }

    fn verify(&self, token: &str) -> Result<Arc<Claims>, Rejection> {
        let remembered = || self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(claims) = remembered().get(token) {
            return Ok(Arc::clone(claims));
        }
        let claims = Arc::new(self.keys.verify(token)?);
        let mut remembered = remembered();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(token.to_owned(), Arc::clone(&claims));
        Ok(claims)
    }

    /// The keys, for those who issue tokens.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What it reads objects from.
    pub fn lookup(&self) -> &dyn Lookup {
        &*self.lookup
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }
}

/// Nobody in particular.
pub fn anonymous() -> User {
    User { name: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..User::default() }
}

fn in_group(mut user: User, group: &str) -> User {
    if !user.groups.iter().any(|present| present == group) {
        user.groups.push(group.to_owned());
    }
    user
}

#[cfg(test)]
mod tests;
