//! Tokens that stand in a file, a line each: `token,user,uid,"group1,group2"`. They never end.
//! Source: `k8s.io/apiserver/pkg/authentication/token/tokenfile`.

use std::collections::HashMap;

use crate::corridor::User;

/// Tokens and whom they stand for.
#[derive(Default)]
pub struct TokenFile(HashMap<String, User>);

impl TokenFile {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = HashMap::new();
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let fields = fields(line);
            let [token, name, uid, rest @ ..] = fields.as_slice() else {
                let least = "must have at least 3 columns (token, user name, user uid)";
                return Err(format!("token file line {} {least}, found {}", i + 1, fields.len()));
            };
            if token.is_empty() {
                continue;
            }
            let groups = rest.first().map(|groups| groups.split(',').map(|group| group.trim().to_owned()).collect());
            let user =
                User { name: name.clone(), uid: uid.clone(), groups: groups.unwrap_or_default(), ..User::default() };
            tokens.insert(token.clone(), user);
        }
        Ok(Self(tokens))
    }

    /// Whom a token stands for.
    pub fn user_of(&self, token: &str) -> Option<&User> {
        self.0.get(token)
    }
}

/// The columns of a line; one in quotes may hold commas.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match (c, fields.last_mut()) {
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => fields.push(String::new()),
            (c, Some(field)) => field.push(c),
            (_, None) => {}
        }
    }
    fields.iter().map(|field| field.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn tokens_stand_for_users() {
        let file = TokenFile::parse("t1,jane,u1,\"dev,ops\"\n\nt2, joe, u2\n,nobody,u3\n").unwrap();
        let jane = file.user_of("t1").unwrap();
        assert_eq!((jane.name.as_str(), jane.uid.as_str(), jane.groups.join(" ")), ("jane", "u1", "dev ops".into()));
        assert_eq!(file.user_of("t2").unwrap().groups.len(), 0);
        assert!(file.user_of("").is_none() && file.user_of("t3").is_none());
        assert_eq!(
            TokenFile::parse("t1,jane").map(|_| ()),
            Err("token file line 1 must have at least 3 columns (token, user name, user uid), found 2".into())
        );
    }
}
