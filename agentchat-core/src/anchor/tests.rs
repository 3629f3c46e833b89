//! The block in files of every kind: nothing outside of it changes.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::id::ClientMsgId;

fn anchor() -> Anchor {
    Anchor::new("agentchat").expect("valid")
}

/// A folder of its own, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("anchor-{}", ClientMsgId::random()));
        std::fs::create_dir(&path).expect("made");
        Self(path)
    }

    fn with(text: &[u8]) -> (Self, PathBuf) {
        let place = Self::new();
        let path = place.0.join("AGENTS.md");
        std::fs::write(&path, text).expect("written");
        (place, path)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("listed");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_block_is_inserted_replaced_verified_and_removed() {
    let (_place, path) = Place::with(b"# House rules\n");
    assert_eq!(anchor().verify(&path, "one").expect("sound"), AnchorState::Missing);
    assert_eq!(anchor().upsert(&path, "one\ntwo\n").expect("written"), AnchorChange::Inserted);
    let text = std::fs::read_to_string(&path).expect("read");
    assert_eq!(text, "# House rules\n<!-- agentchat:start -->\none\ntwo\n<!-- agentchat:end -->\n");
    assert_eq!(anchor().upsert(&path, "one\ntwo").expect("sound"), AnchorChange::Unchanged);
    assert_eq!(anchor().upsert(&path, "three").expect("written"), AnchorChange::Replaced);
    assert_eq!(anchor().read(&path).expect("sound").as_deref(), Some("three"));
    assert_eq!(anchor().verify(&path, "three\r\n").expect("sound"), AnchorState::Current);
    assert_eq!(anchor().verify(&path, "four").expect("sound"), AnchorState::Different);
    assert!(anchor().remove(&path).expect("written"));
    assert!(!anchor().remove(&path).expect("sound"));
    assert_eq!(std::fs::read(&path).expect("read"), b"# House rules\n");
}

#[test]
fn a_missing_file_is_made_and_an_emptied_one_kept() {
    let place = Place::new();
    let path = place.0.join("SOUL.md");
    assert!(!anchor().remove(&path).expect("nothing to do"));
    assert_eq!(anchor().upsert(&path, "").expect("written"), AnchorChange::Inserted);
    assert_eq!(anchor().read(&path).expect("sound").as_deref(), Some(""));
    assert!(anchor().remove(&path).expect("written"));
    assert_eq!(std::fs::read(&path).expect("kept"), b"");
    assert_eq!(place.names(), ["SOUL.md"], "a draft was left behind");
}

#[test]
fn damaged_markers_are_an_error_that_names_the_line_and_changes_nothing() {
    let (start, end) = ("<!-- agentchat:start -->", "<!-- agentchat:end -->");
    for (text, what) in [
        (format!("a\n{start}\nb\n"), "line 2 starts a block that nothing ends"),
        (format!("{end}\n"), "line 1 ends a block that nothing starts"),
        (format!("{end}\n{start}\n"), "line 1 ends a block that nothing starts"),
        (format!("{start}\n{start}\n{end}\n{end}\n"), "line 2 starts a block within that of line 1"),
        (format!("{start}\n{end}\n{start}\n{end}\n"), "line 3 starts a second block"),
        (format!("{start}\n{end}\n{end}\n"), "line 3 ends a block that nothing starts"),
    ] {
        let (place, path) = Place::with(text.as_bytes());
        let anchor = anchor();
        for error in [
            anchor.upsert(&path, "x").expect_err(what),
            anchor.remove(&path).expect_err(what),
            anchor.read(&path).expect_err(what),
            anchor.verify(&path, "x").expect_err(what),
        ] {
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.to_string().contains(what), "{error}");
        }
        assert_eq!(std::fs::read(&path).expect("read"), text.as_bytes());
        assert_eq!(place.names(), ["AGENTS.md"]);
    }
}

#[test]
fn prose_may_mention_the_markers_and_blocks_of_other_names_are_others() {
    let text = "Use `<!-- agentchat:start -->` here.\n<!-- other:start -->\nx\n<!-- other:end -->\n";
    let (_place, path) = Place::with(text.as_bytes());
    assert_eq!(anchor().upsert(&path, "y").expect("written"), AnchorChange::Inserted);
    let other = Anchor::new("other").expect("valid");
    assert_eq!(other.read(&path).expect("sound").as_deref(), Some("x"));
    assert!(anchor().remove(&path).expect("written"));
    assert_eq!(std::fs::read(&path).expect("read"), text.as_bytes());
}

#[test]
fn a_body_with_a_marker_and_a_strange_name_are_refused() {
    let (_place, path) = Place::with(b"x");
    for body in ["<!-- agentchat:end -->", "a\r\n  <!-- agentchat:start --> \r\nb"] {
        assert_eq!(anchor().upsert(&path, body).expect_err(body).kind(), ErrorKind::Invalid);
    }
    assert_eq!(std::fs::read(&path).expect("read"), b"x");
    for name in ["", "a b", "a-->", &"x".repeat(65)] {
        assert_eq!(Anchor::new(name).expect_err(name).kind(), ErrorKind::Invalid);
    }
}

#[cfg(unix)]
#[test]
fn the_file_keeps_its_mode_and_a_link_stays_a_link() {
    use std::os::unix::fs::PermissionsExt;
    let (place, path) = Place::with(b"x\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
    let link = place.0.join("CLAUDE.md");
    std::os::unix::fs::symlink("AGENTS.md", &link).expect("linked");
    anchor().upsert(&link, "me").expect("written");
    assert!(link.symlink_metadata().expect("there").is_symlink(), "the link was replaced by a file");
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
    assert_eq!(anchor().read(&path).expect("sound").as_deref(), Some("me"));
}

#[cfg(unix)]
#[test]
fn what_need_not_change_is_not_written() {
    use std::os::unix::fs::MetadataExt;
    let (_place, path) = Place::with(b"x");
    anchor().upsert(&path, "me").expect("written");
    let inode = || std::fs::metadata(&path).expect("there").ino();
    let before = inode();
    anchor().upsert(&path, "me\n").expect("sound");
    assert_eq!(inode(), before);
}

#[test]
fn who_reads_meanwhile_sees_the_old_file_or_the_new_one_and_never_a_part() {
    let (_place, path) = Place::with(b"# House rules\n");
    let bodies = ["a".repeat(1 << 20), "b".repeat(1 << 20)];
    anchor().upsert(&path, &bodies[0]).expect("written");
    let length = std::fs::metadata(&path).expect("there").len();
    let writing = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut read = 0;
            while writing.load(std::sync::atomic::Ordering::Relaxed) || read == 0 {
                let text = std::fs::read(&path).expect("there");
                assert_eq!(text.len() as u64, length, "a part of a file");
                assert!(!(text.contains(&b'b') && text.windows(8).any(|it| it == b"aaaaaaaa")), "two halves");
                read += 1;
            }
        });
        for round in 0..30 {
            anchor().upsert(&path, &bodies[(round + 1) % 2]).expect("written");
        }
        writing.store(false, std::sync::atomic::Ordering::Relaxed);
        reader.join().expect("whole files");
    });
}

#[test]
fn a_file_that_somebody_else_changed_meanwhile_is_left_to_them() {
    let (place, path) = Place::with(b"theirs");
    let error = file::replace(&path, Some(b"what was read"), b"ours").expect_err("changed");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, true));
    assert_eq!(std::fs::read(&path).expect("read"), b"theirs");
    assert_eq!(place.names(), ["AGENTS.md"], "a draft was left behind");
}

/// Texts of lines of every kind, with and without a last line end.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        "[a-z<!>\\- ]{0,12}".prop_map(String::into_bytes),
        Just(b"not <!-- agentchat:start --> alone".to_vec()),
        Just(vec![0xff, 0xfe, b'x']),
        Just(b"bare\rreturn".to_vec()),
    ];
    let end = prop_oneof![Just(&b"\n"[..]), Just(&b"\r\n"[..])];
    let lines = prop::collection::vec((line, end), 0..6);
    (any::<bool>(), lines, "[a-z]{0,3}").prop_map(|(mark, lines, last)| {
        let mut text = if mark { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
        lines.into_iter().for_each(|(line, end)| text.extend([&line[..], end].concat()));
        text.extend(last.into_bytes());
        text
    })
}

fn body() -> impl Strategy<Value = String> {
    "([a-z \\-]{0,8}(\n|\r\n|\r)?){0,4}"
}

proptest! {
    #[test]
    fn what_is_put_in_and_taken_out_leaves_every_byte_as_it_was(text in text(), first in body(), second in body()) {
        let anchor = anchor();
        let (one, change) = anchor.upserted(&text, &first).expect("sound");
        prop_assert_eq!(change, AnchorChange::Inserted);
        prop_assert!(one.starts_with(&text));
        let (again, change) = anchor.upserted(&one, &first).expect("sound");
        prop_assert_eq!((&again, change), (&one, AnchorChange::Unchanged));
        let (two, _) = anchor.upserted(&one, &second).expect("sound");
        prop_assert_eq!(anchor.upserted(&text, &second).expect("sound").0, two.clone());
        prop_assert_eq!(anchor.removed(&two).expect("sound"), Some(text.clone()));
        prop_assert_eq!(anchor.removed(&text).expect("sound"), None);
    }

    #[test]
    fn text_before_and_after_a_block_stays(before in text(), after in text(), first in body(), second in body()) {
        let anchor = anchor();
        let (mut whole, _) = anchor.upserted(&before, &first).expect("sound");
        let at = whole.len();
        whole.extend(b"\n");
        whole.extend(&after);
        let (new, _) = anchor.upserted(&whole, &second).expect("sound");
        prop_assert!(new.starts_with(&before) && new.ends_with(&whole[at..]));
        let block = anchor.find(&new).expect("sound").expect("there");
        let inner = std::str::from_utf8(&new[block.inner()]).expect("a body");
        prop_assert_eq!(block::normal(inner), block::normal(&second));
    }

    #[test]
    fn no_order_of_markers_makes_it_panic(text in prop::collection::vec(prop::sample::select(PIECES), 0..12)) {
        let text = text.concat();
        if let Ok((new, _)) = anchor().upserted(text.as_bytes(), "me") {
            prop_assert!(anchor().find(&new).expect("sound").is_some());
        }
    }
}

const PIECES: &[&str] = &["<!-- agentchat:start -->", "<!-- agentchat:end -->", "\n", "\r\n", "x"];
