//! What a sealed secret promises: it opens in its own place, unchanged, with its own key, and nowhere else.

use super::*;

fn place() -> Aad {
    Aad::new("credentials", uuid::Uuid::from_u128(7), "password")
}

fn sealed() -> (KeyRing, Sealed) {
    let (private, public) = generate_keypair();
    let mut ring = KeyRing::default();
    assert_eq!(ring.add(private.expose_secret()).unwrap(), public.key_id());
    (ring, seal(&public, &place(), &SecretString::from("hunter2 ä")).unwrap())
}

#[test]
fn what_was_sealed_opens() {
    let (ring, sealed) = sealed();
    assert_eq!(open(&ring, &place(), &sealed).unwrap().expose_secret(), "hunter2 ä");
}

#[test]
fn it_opens_in_no_other_table_row_or_field() {
    let (ring, sealed) = sealed();
    let id = uuid::Uuid::from_u128;
    let others =
        [("targets", id(7), "password"), ("credentials", id(8), "password"), ("credentials", id(7), "username")];
    for (table, row, field) in others {
        assert_eq!(open(&ring, &Aad::new(table, row, field), &sealed).unwrap_err(), SecretError::Open);
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (ring, sealed) = sealed();
    // The top bit of an X25519 point is ignored when it is used (RFC 7748 §5), but the key schedule binds its bytes.
    for bit in 0..sealed.encapped.len() * 8 {
        let mut changed = sealed.clone();
        changed.encapped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            open(&ring, &place(), &changed).unwrap_err(),
            SecretError::Open,
            "bit {bit} of the encapsulated key"
        );
    }
    for bit in 0..sealed.ciphertext.len() * 8 {
        let mut changed = sealed.clone();
        changed.ciphertext[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&ring, &place(), &changed).unwrap_err(), SecretError::Open, "bit {bit} of the ciphertext");
    }
    let cut = Sealed { ciphertext: Vec::new(), ..sealed.clone() };
    assert_eq!(open(&ring, &place(), &cut).unwrap_err(), SecretError::Open);
    let next = Sealed { version: 2, ..sealed };
    assert_eq!(open(&ring, &place(), &next).unwrap_err(), SecretError::UnknownVersion { version: 2 });
}

#[test]
fn a_missing_key_is_named() {
    let (_, sealed) = sealed();
    let (other, _) = generate_keypair();
    let mut ring = KeyRing::default();
    ring.add_lines(&format!("# old\n\n{} # 2026\n", other.expose_secret())).unwrap();
    let error = open(&ring, &place(), &sealed).unwrap_err();
    assert!(error.to_string().contains(&sealed.key_id), "{error}");
}

#[test]
fn debug_shows_no_private_key() {
    let (private, _) = generate_keypair();
    let mut ring = KeyRing::default();
    let id = ring.add(private.expose_secret()).unwrap();
    let shown = format!("{ring:?} {private:?}");
    assert!(shown.contains(&id) && !shown.contains(private.expose_secret()), "{shown}");
}

/// RFC 9180, A.2.1: our suite's base mode, first encryption.
#[test]
fn the_rfcs_own_vector_opens() {
    let unhex = |text: &str| hex::decode(text).unwrap();
    let private =
        RawPrivate::from_bytes(&unhex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb")).unwrap();
    let encapped =
        Encapped::from_bytes(&unhex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")).unwrap();
    let ciphertext = unhex(concat!(
        "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db",
        "21993c62ce81883d2dd1b51a28"
    ));
    let plain = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Suite>(
        &OpModeR::Base,
        &private,
        &encapped,
        &unhex("4f6465206f6e2061204772656369616e2055726e"),
        &ciphertext,
        b"Count-0",
    );
    assert_eq!(plain.unwrap(), b"Beauty is truth, truth beauty");
}
