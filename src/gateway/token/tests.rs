//! Which tokens are taken: every algorithm with a key of its own, every claim that must be right, and bytes of
//! strangers, which prove nobody and break nothing.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};

use super::*;
use crate::gateway::principal::Principals;

const NOW: u64 = 1_900_000_000;
const GOOD: &str = r#"{"iss":"https://as.test","aud":"https://gw.test/mcp","sub":"alice","exp":2000000000,"scope":"mcp:use"}"#;

/// A public RSA key whose private one is gone, and what it has signed: the claims of [`GOOD`] until 2033.
const RSA_N: &str = "vCtKZiKwxY8jaHhHqHSJBXrY55vWDjw6wGtQuB8Ota90meKa9rdC4Gi2ot8HmmxfAPnun4SiAWIrLOuiCP-zRhN3JK\
     ENlh--hPCEil7wv3lQBDYdUQ2ThnVtIlYHSyHZ2Z3XT5PvRuQ2xRC07BlJcp5Bl60EQBc7R5qRARUYvxMpl5VaRX6G\
     7v6MTrIP__lD5qDOUhqsfPYYYwYlbGK2xTbmwMshpaB4xbJqARwDbXV8FB8gjHw4RE3wpIA3XUbKCIjkJyKGRFcbhN\
     CBh4AHVaoGm9fgk2SBRchE96SdW2Oqt8OB7vJMqvyK2dZuUt1pYAlKV9ViuEqvGofTbE7cHQ";
const RSA_SIGNED: [(&str, &str); 4] = [
    (
        "RS256",
        "AwTm6LZz4QzX0GCwc_kiuENT1g5h2hm9O55cz4ZfEnI0B3D2_okCxab6p7MmRVABdGjZ2fbWnaIz7wSMMQfZ\
     D7LVv1p2lufeNaEOArhyWWOxoSyUrGGrPc2YSgOu3ry5Qo1kfC8vb8sXFFH7wZ_wH_4bccPS3yXUuW27pnd-\
     9waYtuiv-cL_-Kznnpk_fygUCJ-Dc7-37aY7MBXGa4kBpB7k77aLtm32kAUGzl3RjFkr2U_SbwK1oMgHAmU0\
     o1b3bNGN0WtOHfG-diRnldiuRI6XpnNjk3GaePTtimpDN8zQ3_5Pr0cV-UxKQET3grbQY7zw1i-D1gLHAUvF\
     FFnvMw",
    ),
    (
        "RS512",
        "sM1MuO5C9obqARv1zuB2gkkhW_LwIjDGcuOfNCQ-oDLTGIa4yRySiTF_Wh-yhbyxhaxWn5a-Qvj9tPJyzkCV\
     aSF6uqoWE5ScyCQFn4sElyWMDQT6CNasAPsQ0TAup66YPBfr8YNwhwkqWimt5L3SSdQCNZKt0NASJnRp9J4Z\
     vQHr40VMLI0ytLVBQ4aFbJzG3puLQfQQyQYx5YwF5RXZFliE-p0bQ0OOKKXIw0AGRquGREyWwNcSRoNXlNHC\
     aU0mDP45VqPS0SLjknK2guNPwVg3T84nV2ZyK8J7IKh6A-0Wg6LiSFuyz9AKaelUSO1hgG89_qyCsjbVKfRg\
     T1xFVw",
    ),
    (
        "PS256",
        "Hr1OrvqwXY5yUH_fp4peaMGuAE6ScJ0foy_6Ys-qVGcGnmr_buidWJT58ll3qjNSUDVI6evkSX7VmvRtRg3M\
     miXrUMAKYF1zY4Bl3b4JXcHB3hsV2YJYNhni0siQ3mqPSGGHdUcoLDs0MYbd_WeP50sIiyx0hn1OuIMDQE_k\
     2HsW-5pkqlRSMYRBoFKxP_Pgq4oFxiiED90hIN_dN4ur_rFE6GC6wrZJEXiOsIXOiPlOFyoTLlz9TbjKFWXv\
     vqje-qAjczaJgXYVWf_Kw1UTNrso9SyfOKUbJ_L36FLlvDq_ANYofYkvrvC69p7KS0GdnbzEqT-e7LewXZKH\
     J01XfA",
    ),
    (
        "PS384",
        "F96O5kwmQbCottqpt4IUYiWG71nSWTnG4Cx3ELhrkGu9YgtHA2dvEYXn6LatGggtrt2a8VbqP4mF3Dk_-bBo\
     ITYRhdwZ97GdUc5FnYiydGaocjYJBMfAtDRZQM6nW6128tI8CUdArFP6d4-xpab4FSBKgTUrK6_6IXsVPc9q\
     ldX6iIehaICdJLYbxgvQFioHzHs8tgYfgIK0XGifnQxOPZ6DFQG7S8ijjpgf4gpCUD5QG5kXyMNB-0KDf9BV\
     M0Lh-0EcywUPkVpgeiwkxV21WOcm9ngrp0r-hMYBIdJzr0sMMCWWsCzynjpuxb7skRBBYE6TkJQ5meU9gCAV\
     226FVw",
    ),
];

fn rules() -> Rules {
    let mut principals = Principals::default();
    let agents = [("cli".into(), principals.acting_as("reader"))].into_iter().collect();
    Rules {
        issuer: "https://as.test".into(),
        audiences: vec!["https://gw.test/mcp".into(), "gw".into()],
        algorithms: Algorithm::ALL.map(|(_, algorithm)| algorithm).to_vec(),
        leeway_secs: 30,
        scopes: vec!["mcp:use".into()],
        principal_claim: "sub".into(),
        agent_claims: vec!["client_id".into(), "azp".into()],
        agents,
        resource: "https://gw.test/mcp".into(),
    }
}

/// An issuer of a test's.
struct Issuer(Ed25519KeyPair);

impl Issuer {
    fn new() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn key(&self, kid: &str) -> String {
        let x = B64.encode(self.0.public_key());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#)
    }

    fn keys(&self) -> KeySet {
        set(&[&self.key("ed")])
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        signed(header, claims, |message| self.0.sign(message).as_ref().to_vec())
    }

    fn token(&self, claims: &str) -> String {
        self.sign(r#"{"alg":"EdDSA","kid":"ed"}"#, claims)
    }
}

fn set(keys: &[&str]) -> KeySet {
    KeySet::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes()).unwrap()
}

fn signed(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", B64.encode(header), B64.encode(claims));
    let signature = B64.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn judged(keys: &KeySet, token: &str) -> Result<Proved, Refusal> {
    rules().judge(Some(keys), token.as_bytes(), NOW)
}

/// The claims of [`GOOD`] with some changed or, with `null`, left out.
fn claims(changes: &str) -> String {
    let mut claims: serde_json::Value = serde_json::from_str(GOOD).unwrap();
    let changes: serde_json::Value = serde_json::from_str(changes).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            serde_json::Value::Null => {
                claims.as_object_mut().unwrap().remove(name);
            }
            value => claims[name] = value.clone(),
        }
    }
    claims.to_string()
}

#[test]
fn each_algorithm_is_verified_with_a_key_of_its_kind() {
    let random = SystemRandom::new();
    let mut keys =
        vec![format!(r#"{{"kty":"RSA","kid":"rsa","use":"sig","e":"AQAB","n":"{RSA_N}"}}"#)];
    let mut tokens: Vec<(String, String)> = Vec::new();
    for (name, signature) in RSA_SIGNED {
        let header = format!(r#"{{"alg":"{name}","kid":"rsa","typ":"at+jwt"}}"#);
        let signature = B64.decode(signature).unwrap();
        tokens.push((name.to_owned(), signed(&header, GOOD, |_| signature.clone())));
    }
    for (name, curve, how) in [
        ("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
        ("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
    ] {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &random).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
        let (x, y) = (B64.encode(x), B64.encode(y));
        keys.push(format!(
            r#"{{"kty":"EC","crv":"{curve}","kid":"{name}","alg":"{name}","x":"{x}","y":"{y}"}}"#
        ));
        let header = format!(r#"{{"alg":"{name}","kid":"{name}"}}"#);
        let sign = |message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec();
        tokens.push((name.to_owned(), signed(&header, GOOD, sign)));
    }
    let issuer = Issuer::new();
    keys.push(issuer.key("ed"));
    for name in ["EdDSA", "Ed25519"] {
        let header = format!(r#"{{"alg":"{name}","kid":"ed"}}"#);
        tokens.push((name.to_owned(), issuer.sign(&header, GOOD)));
    }
    let keys = set(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    for (name, token) in &tokens {
        assert_eq!(judged(&keys, token).map(|it| it.name), Ok("alice".into()), "{name}");
        // One bit of the payload, and one of the signature.
        for at in [token.len() / 2, token.len() - 5] {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            assert!(judged(&keys, &other).is_err(), "{name} with another byte {at}");
        }
        let without = signed(
            &format!(
                r#"{{"alg":"{}","kid":"ed"}}"#,
                if name.starts_with('E') { "RS256" } else { "EdDSA" }
            ),
            GOOD,
            |_| vec![0; 64],
        );
        assert!(judged(&keys, &without).is_err(), "an algorithm of another key's kind");
        let only = Rules { algorithms: Vec::new(), ..rules() };
        assert!(
            only.judge(Some(&keys), token.as_bytes(), NOW).is_err(),
            "{name} is not on the list"
        );
    }
}

#[test]
fn an_algorithm_that_proves_nothing_is_never_taken() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    for alg in ["none", "None", "NONE", "HS256", "HS512", "RSA1_5", "ES256K", "", "EdDSA "] {
        let header = format!(r#"{{"alg":"{alg}","kid":"ed"}}"#);
        assert!(
            matches!(judged(&keys, &issuer.sign(&header, GOOD)), Err(Refusal::Invalid(_))),
            "{alg}"
        );
        let unsigned = signed(&header, GOOD, |_| Vec::new());
        assert!(matches!(judged(&keys, &unsigned), Err(Refusal::Invalid(_))), "{alg}");
    }
    for header in [
        r#"{"alg":"EdDSA","kid":"ed","crit":["x"],"x":1}"#,
        r#"{"alg":"EdDSA","kid":"ed","typ":"logout+jwt"}"#,
        r#"{"kid":"ed"}"#,
        r#"{"alg":"EdDSA","alg":"EdDSA","kid":"ed"}"#,
        r#"["EdDSA"]"#,
    ] {
        assert!(
            matches!(judged(&keys, &issuer.sign(header, GOOD)), Err(Refusal::Invalid(_))),
            "{header}"
        );
    }
    for typ in ["JWT", "at+JWT", "application/at+jwt"] {
        let header = format!(r#"{{"alg":"EdDSA","kid":"ed","typ":"{typ}"}}"#);
        assert!(judged(&keys, &issuer.sign(&header, GOOD)).is_ok(), "{typ}");
    }
}

#[test]
fn every_claim_must_be_right() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    let of = |changes: &str| judged(&keys, &issuer.token(&claims(changes)));
    for good in [
        "{}",
        r#"{"aud":["x","gw"]}"#,
        r#"{"aud":"gw"}"#,
        &format!(r#"{{"exp":{}}}"#, NOW - 29),
        &format!(r#"{{"nbf":{}}}"#, NOW + 30),
        r#"{"scope":"a mcp:use"}"#,
        r#"{"scope":null,"scp":["mcp:use"]}"#,
    ] {
        assert!(of(good).is_ok(), "{good}: {:?}", of(good));
    }
    for (bad, reason) in [
        (r#"{"iss":"https://as.test/"}"#, "another issuer's token"),
        (r#"{"iss":null}"#, "another issuer's token"),
        (r#"{"iss":["https://as.test"]}"#, "another issuer's token"),
        (r#"{"aud":"https://gw.test"}"#, "a token for another audience"),
        (r#"{"aud":null}"#, "a token for another audience"),
        (r#"{"aud":[]}"#, "a token for another audience"),
        (r#"{"exp":null}"#, "a token without exp"),
        (r#"{"exp":"2000000000"}"#, "a token without exp"),
        (&format!(r#"{{"exp":{}}}"#, NOW - 30), "an expired token"),
        (&format!(r#"{{"nbf":{}}}"#, NOW + 31), "a token that is not valid yet"),
        (r#"{"nbf":"soon"}"#, "a token that is not valid yet"),
        (r#"{"cnf":{"jkt":"x"}}"#, "a token bound to a key (cnf), which is not checked here"),
        (r#"{"sub":null}"#, "the claim of auth.jwt.principal_claim is missing or no name"),
        (r#"{"sub":""}"#, "the claim of auth.jwt.principal_claim is missing or no name"),
        (r#"{"sub":7}"#, "the claim of auth.jwt.principal_claim is missing or no name"),
    ] {
        assert_eq!(of(bad), Err(Refusal::Invalid(reason)), "{bad}");
    }
    for bad in [r#"{"scope":null}"#, r#"{"scope":"mcp:use2"}"#, r#"{"scope":"MCP:USE"}"#] {
        assert_eq!(of(bad), Err(Refusal::Scope), "{bad}");
    }
    // Whose token is not good does not learn what it would need.
    let mallory = Issuer::new();
    let forged = mallory.token(&claims(r#"{"scope":null}"#));
    assert!(matches!(judged(&keys, &forged), Err(Refusal::Invalid(_))));
}

#[test]
fn a_subject_acts_as_the_agent_that_its_client_is_mapped_to() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    let of = |changes: &str| judged(&keys, &issuer.token(&claims(changes))).unwrap().principal;
    let reader = rules().agents["cli"];
    assert_eq!(of(r#"{"client_id":"cli"}"#).number(), reader.number());
    assert_eq!(of(r#"{"azp":"cli"}"#).number(), reader.number());
    assert_eq!(of(r#"{"client_id":"other","azp":"cli"}"#).number(), 0, "the first claim counts");
    assert_eq!(of("{}").number(), 0);
    assert_ne!(of("{}"), Principal::ANONYMOUS);
    assert_ne!(of("{}"), of(r#"{"sub":"bob"}"#));
    assert_ne!(of(r#"{"client_id":"cli"}"#), reader, "who has the agent's own key is another");
}

#[test]
fn a_key_is_found_by_its_kid_and_one_that_is_not_there_may_be_new() {
    let (first, second) = (Issuer::new(), Issuer::new());
    let keys = set(&[&first.key("one"), &second.key("two")]);
    let of = |issuer: &Issuer, header: &str| judged(&keys, &issuer.sign(header, GOOD)).map(drop);
    assert_eq!(of(&first, r#"{"alg":"EdDSA","kid":"one"}"#), Ok(()));
    assert!(matches!(of(&first, r#"{"alg":"EdDSA","kid":"two"}"#), Err(Refusal::Invalid(_))));
    assert_eq!(
        of(&first, r#"{"alg":"EdDSA","kid":"three"}"#),
        Err(Refusal::UnknownKey { may_come: true })
    );
    assert_eq!(of(&second, r#"{"alg":"EdDSA"}"#), Ok(()), "without kid all that fit are tried");
    assert_eq!(
        rules().judge(None, first.token(GOOD).as_bytes(), NOW),
        Err(Refusal::NoKeys),
        "before the first fetch"
    );
}

#[test]
fn key_sets_are_read_as_issuers_write_them() {
    let ed = Issuer::new().key("ed");
    let other = [
        r#"{"kty":"oct","k":"c2VjcmV0"}"#,
        r#"{"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}"#,
        r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#,
        r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#,
        r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#,
        r#"{"kty":"RSA","alg":"HS256","n":"AQAB","e":"AQAB"}"#,
        r#"{"kty":7}"#,
        "7",
    ];
    assert_eq!(set(&[&other[..], &[&ed]].concat()).len(), 1);
    for (bad, why) in [
        ("", "this is no JSON Web Key Set"),
        ("{}", "this is no JSON Web Key Set"),
        (r#"{"keys":{}}"#, "this is no JSON Web Key Set"),
        (r#"{"keys":[]}"#, "of 0 keys none is"),
        (&format!("{{\"keys\":[{}]}}", other.join(",")), "of 8 keys none is"),
        (&format!("{{\"keys\":[{}]}}", vec![&*ed; 65].join(",")), "65 keys are more than"),
    ] {
        assert!(KeySet::parse(bad.as_bytes()).unwrap_err().starts_with(why), "{bad}");
    }
}

#[test]
fn a_known_token_is_remembered_until_it_expires_or_the_keys_change() {
    let issuer = Issuer::new();
    let mut verifier = Verifier::new(Arc::new(rules()), 100);
    let token = issuer.token(&claims(&format!(r#"{{"exp":{}}}"#, NOW + 100)));
    let seen = |verifier: &mut Verifier, now: u64| verifier.identify(token.as_bytes(), now);
    assert_eq!(seen(&mut verifier, NOW), Err(Refusal::NoKeys));
    verifier.learn(Arc::new(issuer.keys()));
    let first = seen(&mut verifier, NOW).unwrap();
    assert_eq!(first.name.as_deref(), Some("alice"));
    let again = seen(&mut verifier, NOW + 129).unwrap();
    assert_eq!((again.principal, again.name), (first.principal, None), "it is known");
    assert_eq!(seen(&mut verifier, NOW + 130), Err(Refusal::Invalid("an expired token")));
    // The same keys fetched anew change nothing.
    verifier.learn(Arc::new(issuer.keys()));
    assert_eq!(seen(&mut verifier, NOW).unwrap().name, None);
    // A key that is withdrawn takes its tokens with it.
    let other = Arc::new(set(&[&Issuer::new().key("new")]));
    verifier.learn(Arc::clone(&other));
    let unknown = |may_come| Err(Refusal::UnknownKey { may_come });
    assert_eq!(seen(&mut verifier, NOW), unknown(true));
    assert_eq!(seen(&mut verifier, NOW), unknown(true), "until keys were fetched anew");
    verifier.learn(Arc::clone(&other));
    assert_eq!(seen(&mut verifier, NOW), unknown(false));
    verifier.learn(Arc::new(issuer.keys()));
    assert!(seen(&mut verifier, NOW).is_ok());
}

#[test]
fn strangers_keys_are_waited_for_in_bounded_number() {
    let issuer = Issuer::new();
    let mut verifier = Verifier::new(Arc::new(rules()), 100);
    verifier.learn(Arc::new(issuer.keys()));
    let mut waiting = 0;
    for number in 0..3_000 {
        let header = format!(r#"{{"alg":"EdDSA","kid":"{number}"}}"#);
        let token = signed(&header, GOOD, |_| vec![0; 64]);
        let refused = verifier.identify(token.as_bytes(), NOW);
        waiting += usize::from(refused == Err(Refusal::UnknownKey { may_come: true }));
    }
    assert_eq!(waiting, 1_024);
    assert!(verifier.identify(issuer.token(GOOD).as_bytes(), NOW).is_ok());
}

/// A generator that needs no seed of the system's: a failure can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

#[test]
fn bytes_of_strangers_prove_nobody_and_break_nothing() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    let good = issuer.token(GOOD);
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for round in 0..20_000 {
        let mut token = good.clone().into_bytes();
        for _ in 0..=dice.roll(4) {
            let at = dice.roll(token.len().max(1));
            let byte = u8::try_from(dice.roll(256)).unwrap();
            match dice.roll(5) {
                0 => token.truncate(at),
                1 => token.insert(at.min(token.len()), byte),
                2 if at < token.len() => token[at] = byte,
                3 if at < token.len() => token[at] = b'.',
                _ => {
                    let tail = token.get(at..).unwrap_or_default().to_vec();
                    token.extend(tail);
                }
            }
        }
        if token != good.as_bytes() {
            assert!(rules().judge(Some(&keys), &token, NOW).is_err(), "round {round}: {token:?}");
        }
    }
    // Signed headers and payloads that nobody would write.
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    for text in ["", "{", "null", "[]", "7", "\"x\"", "{\"exp\":1e999}", "\u{0}", &deep] {
        assert!(judged(&keys, &issuer.token(text)).is_err());
        assert!(judged(&keys, &issuer.sign(text, GOOD)).is_err());
        drop(KeySet::parse(text.as_bytes()));
    }
    for token in [".", "..", "...", "a.b.c", &".".repeat(70_000), &"a".repeat(70_000)] {
        assert!(judged(&keys, token).is_err());
    }
}
