use sha2::{Digest, Sha256};

use super::*;
use crate::control::moment::tests::at;
use crate::tenant::Tenant;

const RANDOM: [u8; 16] = [0xab; 16];

async fn control_with_account() -> (ControlDb, AccountId) {
    let control = ControlDb::open_in_memory().await.unwrap();
    let account = control.create_account("acme", "Acme Ltd", at(0)).await.unwrap();
    (control, account.id)
}

fn secret(account_id: AccountId) -> NewKey {
    NewKey {
        account_id,
        environment: Environment::Test,
        kind: KeyKind::Secret,
        scopes: "ingest,can_view_reports".parse().unwrap(),
        name: Some("backend".to_owned()),
    }
}

fn random_ending(last: u8) -> [u8; 16] {
    let mut random = RANDOM;
    random[15] = last;
    random
}

#[tokio::test]
async fn key_has_its_form_and_only_its_digest_is_kept() {
    let (control, account) = control_with_account().await;
    let (key, plain) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
    assert_eq!(plain.expose(), format!("sk_test_{}", "ab".repeat(16)));
    assert_eq!(key.prefix, "sk_test_abab");
    assert_eq!(format!("{plain:?}"), "PlainKey(sk_test_abab…)");
    let row = entity::Entity::find_by_id(key.id).one(&control.db).await.unwrap().unwrap();
    assert_eq!(row.digest, Sha256::digest(plain.expose()).to_vec());
    assert_eq!(control.keys(account).await.unwrap(), [key]);
}

#[tokio::test]
async fn good_key_opens_its_account_and_environment() {
    let (control, account_id) = control_with_account().await;
    let (key, plain) = control.create_key(secret(account_id), RANDOM, at(0)).await.unwrap();
    let opened = control.authenticate(plain.expose(), at(100)).await.unwrap().unwrap();
    assert_eq!(opened.key_id, key.id);
    assert_eq!(opened.tenant, Tenant { account_id, environment: Environment::Test });
    assert_eq!((opened.account_slug.as_str(), opened.account_name.as_str()), ("acme", "Acme Ltd"));
    assert!(opened.scopes.allows(Scope::CanViewReports) && !opened.scopes.allows(Scope::Admin));
}

#[tokio::test]
async fn bad_keys_are_refused_with_their_reason() {
    let (control, account) = control_with_account().await;
    control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
    let check = async |presented: &str, expected: AuthFailure| {
        assert_eq!(control.authenticate(presented, at(100)).await.unwrap().unwrap_err(), expected, "{presented}");
    };
    check("", AuthFailure::MalformedKey).await;
    check("Bearer x", AuthFailure::MalformedKey).await;
    check(&format!("sk_prod_{}", "ab".repeat(16)), AuthFailure::MalformedKey).await;
    check(&format!("xk_test_{}", "ab".repeat(16)), AuthFailure::MalformedKey).await;
    check(&format!("sk_test_{}", "AB".repeat(16)), AuthFailure::MalformedKey).await;
    check(&format!("sk_test_{}", "ab".repeat(15)), AuthFailure::MalformedKey).await;
    check(&format!("sk_test_{}", "é".repeat(16)), AuthFailure::MalformedKey).await;
    check(&format!("sk_test_{}", "cd".repeat(16)), AuthFailure::UnknownKey).await;
    check(&format!("sk_live_{}", "ab".repeat(16)), AuthFailure::UnknownKey).await;
    check(&format!("sk_test_{}cd", "ab".repeat(15)), AuthFailure::UnknownKey).await;
}

#[tokio::test]
async fn keys_that_begin_alike_are_told_apart() {
    let (control, account) = control_with_account().await;
    let (first, first_plain) = control.create_key(secret(account), random_ending(1), at(0)).await.unwrap();
    let (second, second_plain) = control.create_key(secret(account), random_ending(2), at(1)).await.unwrap();
    assert_eq!(first.prefix, second.prefix);
    assert_eq!(control.authenticate(first_plain.expose(), at(100)).await.unwrap().unwrap().key_id, first.id);
    assert_eq!(control.authenticate(second_plain.expose(), at(100)).await.unwrap().unwrap().key_id, second.id);

    let ambiguous = control.revoke_key(None, first.prefix.as_str(), at(2)).await;
    assert!(matches!(ambiguous, Err(ControlError::AmbiguousKey { key_ids, .. }) if key_ids.len() == 2));
    control.revoke_key(None, second_plain.expose(), at(2)).await.unwrap();
    assert!(control.authenticate(first_plain.expose(), at(100)).await.unwrap().is_ok());
    assert_eq!(control.authenticate(second_plain.expose(), at(100)).await.unwrap(), Err(AuthFailure::RevokedKey));
}

#[tokio::test]
async fn revoking_again_keeps_the_first_time() {
    let (control, account) = control_with_account().await;
    let (key, _) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
    control.revoke_key(Some(account), key.prefix.as_str(), at(5)).await.unwrap();
    let again = control.revoke_key(Some(account), key.id, at(9)).await.unwrap();
    assert_eq!(again.revoked_at, Some(at(5)));
}

#[tokio::test]
async fn a_rotated_key_has_a_new_secret_and_the_old_one_ends_with_its_grace() {
    let (control, account) = control_with_account().await;
    let (key, old) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
    let (rotated, new) = control.rotate_key(Some(account), key.id, 60, [0xcd; 16], at(10)).await.unwrap();
    assert_eq!((rotated.id, rotated.scopes, rotated.name), (key.id, key.scopes, key.name));
    assert_eq!(rotated.previous_until, Some(at(70)));
    for (second, expected) in [(10, Ok(key.id)), (69, Ok(key.id)), (70, Err(AuthFailure::RevokedKey))] {
        let opened = control.authenticate(old.expose(), at(second)).await.unwrap();
        assert_eq!(opened.map(|opened| opened.key_id), expected, "{second}");
    }
    assert!(control.authenticate(new.expose(), at(1_000)).await.unwrap().is_ok());

    // Without a grace the old secret ends at once, and so does the one before it.
    let (_, newest) = control.rotate_key(None, new.expose(), 0, [0xef; 16], at(20)).await.unwrap();
    assert_eq!(control.authenticate(new.expose(), at(20)).await.unwrap(), Err(AuthFailure::RevokedKey));
    assert_eq!(control.authenticate(old.expose(), at(20)).await.unwrap(), Err(AuthFailure::UnknownKey));
    control.revoke_key(None, newest.expose(), at(30)).await.unwrap();
    assert_eq!(control.authenticate(newest.expose(), at(30)).await.unwrap(), Err(AuthFailure::RevokedKey));
}

#[tokio::test]
async fn a_revoked_key_ends_with_both_its_secrets_and_is_not_rotated() {
    let (control, account) = control_with_account().await;
    let (key, old) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
    control.rotate_key(None, key.id, 60, [0xcd; 16], at(1)).await.unwrap();
    control.revoke_key(None, old.expose(), at(2)).await.unwrap();
    assert_eq!(control.authenticate(old.expose(), at(2)).await.unwrap(), Err(AuthFailure::RevokedKey));
    let rotated = control.rotate_key(None, key.id, 0, RANDOM, at(3)).await;
    assert!(matches!(rotated, Err(ControlError::KeyRevoked)));
    let rotated = control.rotate_key(None, key.id, MAX_ROTATION_GRACE_S + 1, RANDOM, at(3)).await;
    assert!(matches!(rotated, Err(ControlError::GraceTooLong { .. })));
}

#[tokio::test]
async fn key_of_another_account_does_not_exist() {
    let (control, account) = control_with_account().await;
    let other = control.create_account("other", "Other", at(0)).await.unwrap();
    let (key, plain) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
    for reference in [KeyRef::Id(key.id), KeyRef::Prefix(key.prefix), KeyRef::Key(plain.clone())] {
        let revoked = control.revoke_key(Some(other.id), reference, at(1)).await;
        assert!(matches!(revoked, Err(ControlError::UnknownKey)));
    }
    assert!(control.authenticate(plain.expose(), at(100)).await.unwrap().is_ok());
}

#[tokio::test]
async fn suspended_account_opens_again_when_it_is_active() {
    let (control, account) = control_with_account().await;
    let (_, plain) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
    control.set_account_status(account, AccountStatus::Suspended, at(1)).await.unwrap();
    assert_eq!(control.authenticate(plain.expose(), at(100)).await.unwrap(), Err(AuthFailure::SuspendedAccount));
    control.set_account_status(account, AccountStatus::Active, at(2)).await.unwrap();
    assert!(control.authenticate(plain.expose(), at(100)).await.unwrap().is_ok());
}

#[tokio::test]
async fn publishable_key_may_only_ingest() {
    let (control, account) = control_with_account().await;
    let publishable =
        |scopes: &str| NewKey { kind: KeyKind::Publishable, scopes: scopes.parse().unwrap(), ..secret(account) };
    for scopes in ["admin", "ingest,can_view_reports", "can_view_reports"] {
        let created = control.create_key(publishable(scopes), RANDOM, at(0)).await;
        assert!(matches!(created, Err(ControlError::PublishableScopes { .. })), "{scopes}");
    }
    let (_, plain) = control.create_key(publishable("ingest"), RANDOM, at(0)).await.unwrap();
    assert!(plain.expose().starts_with("pk_test_"));
}

#[tokio::test]
async fn key_needs_an_account() {
    let (control, _) = control_with_account().await;
    let nobody = AccountId(new_id(at(0)));
    let created = control.create_key(secret(nobody), RANDOM, at(0)).await;
    assert!(matches!(created, Err(ControlError::UnknownAccount { account_id }) if account_id == nobody));
}

#[tokio::test]
async fn last_use_never_goes_back() {
    let (control, account) = control_with_account().await;
    let (key, _) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
    for used_at in [at(10), at(5)] {
        control.mark_key_used(key.id, used_at).await.unwrap();
    }
    assert_eq!(control.keys(account).await.unwrap()[0].last_used_at, Some(at(10)));
}
