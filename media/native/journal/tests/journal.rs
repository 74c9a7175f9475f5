//! Journals as a reader finds them: written with an independent reading of the layout in `format.rs`.

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_256_GCM};
use aws_lc_rs::{digest, hkdf};
use holdspace_journal::{JournalError, JournalNotice, JournalWriter, Record};
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::mpsc::{channel, Receiver};
use std::time::Duration;

const JOURNAL: u64 = 7;
const ALICE: u32 = 1;
const BOB: u32 = 2;
const SECRET: &[u8] = b"a sentence nobody else may read";

struct Bench {
    writer: JournalWriter,
    notices: Receiver<JournalNotice>,
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let (told, notices) = channel();
        let writer = JournalWriter::start(move |notice| drop(told.send(notice))).unwrap();
        Bench { writer, notices, directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("recording.journal")
    }

    fn open(&self) {
        self.writer.open(JOURNAL, &self.path(), &key(0), b"header").unwrap();
        self.writer.add_key(JOURNAL, ALICE, &key(ALICE)).unwrap();
    }

    fn wait_for(&self, wanted: impl Fn(&JournalNotice) -> bool) -> JournalNotice {
        loop {
            let notice = self.notices.recv_timeout(Duration::from_secs(60)).expect("no notice");
            if wanted(&notice) {
                return notice;
            }
        }
    }
}

fn key(id: u32) -> [u8; 32] {
    [id as u8 + 1; 32]
}

fn rtp(arrival_us: u64, packet: &[u8]) -> Record<'_> {
    Record::Rtp { tap: 5, codec: 1, arrival_us, packet }
}

#[derive(Debug, PartialEq)]
struct Read {
    key_id: u32,
    kind: u8,
    codec: u8,
    tap: u64,
    arrival_us: u64,
    payload: Vec<u8>,
}

/// Reads every whole chunk of a journal that may be cut anywhere; panics at one that does not authenticate.
fn read(bytes: &[u8]) -> Vec<Read> {
    let header_len = u32::from_be_bytes(bytes[24..28].try_into().unwrap()) as usize;
    let (preamble, mut rest) = bytes.split_at(28 + header_len);
    let hash = digest::digest(&digest::SHA256, preamble);
    let mut records = Vec::new();
    let mut number = 0u64;
    while rest.len() >= 20 {
        let (header, after) = rest.split_at(20);
        assert_eq!(&header[..4], b"HSCK");
        assert_eq!(header[8..16], number.to_be_bytes());
        number += 1;
        let key_id = u32::from_be_bytes(header[4..8].try_into().unwrap());
        let len = u32::from_be_bytes(header[16..].try_into().unwrap()) as usize;
        let Some((sealed, next)) = after.split_at_checked(len) else {
            break;
        };
        rest = next;
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&header[8..16]);
        let aad = [hash.as_ref(), header].concat();
        let mut plain = sealed.to_vec();
        let plain = file_key(&bytes[8..24], key_id)
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut plain)
            .unwrap();
        read_records(key_id, plain, &mut records);
    }
    records
}

fn file_key(file_id: &[u8], key_id: u32) -> LessSafeKey {
    let id = key_id.to_be_bytes();
    let info: [&[u8]; 2] = [b"holdspace journal", &id];
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, file_id).extract(&key(key_id));
    let mut bytes = [0; 32];
    extracted.expand(&info, &AES_256_GCM).unwrap().fill(&mut bytes).unwrap();
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).unwrap())
}

fn read_records(key_id: u32, mut plain: &[u8], records: &mut Vec<Read>) {
    while !plain.is_empty() {
        let len = usize::from(u16::from_be_bytes([plain[2], plain[3]]));
        records.push(Read {
            key_id,
            kind: plain[0],
            codec: plain[1],
            tap: u64::from_be_bytes(plain[4..12].try_into().unwrap()),
            arrival_us: u64::from_be_bytes(plain[12..20].try_into().unwrap()),
            payload: plain[20..20 + len].to_vec(),
        });
        plain = &plain[20 + len..];
    }
}

#[test]
fn what_was_appended_is_read_back_under_each_ones_key() {
    let bench = Bench::new();
    bench.open();
    bench.writer.add_key(JOURNAL, BOB, &key(BOB)).unwrap();
    let mut sink = bench.writer.sink();
    bench.writer.event(JOURNAL, 1, b"started").unwrap();
    sink.append(JOURNAL, ALICE, rtp(2, SECRET)).unwrap();
    let report = Record::SenderReport { tap: 6, arrival_us: 3, ssrc: 9, ntp_time: 0x0102_0304, rtp_ts: 90 };
    sink.append(JOURNAL, BOB, report).unwrap();
    sink.flush(u64::MAX);
    bench.writer.close(JOURNAL).unwrap();
    bench.wait_for(|notice| *notice == JournalNotice::Closed { journal: JOURNAL });
    let bytes = std::fs::read(bench.path()).unwrap();
    let mut by_key: HashMap<u32, Vec<Read>> = HashMap::new();
    for record in read(&bytes) {
        by_key.entry(record.key_id).or_default().push(record);
    }
    let alice = &by_key[&ALICE][0];
    assert_eq!((alice.kind, alice.codec, alice.tap, alice.arrival_us), (1, 1, 5, 2));
    assert_eq!(alice.payload, SECRET);
    assert_eq!(by_key[&BOB][0].payload, [0, 0, 0, 9, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 90]);
    let events: Vec<_> = by_key[&0].iter().map(|read| (read.kind, &read.payload[..])).collect();
    assert_eq!(events, [(3, &b"started"[..]), (4, &b""[..])]);
}

#[test]
fn nothing_but_framing_and_header_is_on_disk_in_clear() {
    let bench = Bench::new();
    bench.open();
    bench.writer.event(JOURNAL, 1, SECRET).unwrap();
    let mut sink = bench.writer.sink();
    sink.append(JOURNAL, ALICE, rtp(2, SECRET)).unwrap();
    drop(sink);
    bench.writer.shutdown();
    let bytes = std::fs::read(bench.path()).unwrap();
    assert!(bytes.windows(6).any(|window| window == b"header"));
    assert!(!bytes.windows(8).any(|window| window == &SECRET[..8]));
    let mode = std::fs::metadata(bench.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_cut_anywhere_gives_all_whole_chunks_before_the_cut() {
    let bench = Bench::new();
    bench.open();
    let mut sink = bench.writer.sink();
    for i in 0..400u64 {
        sink.append(JOURNAL, ALICE, rtp(i * 1000, &[i as u8; 900])).unwrap();
    }
    drop(sink);
    bench.writer.shutdown();
    let bytes = std::fs::read(bench.path()).unwrap();
    assert_eq!(read(&bytes).len(), 401);
    let mut before = 0;
    for cut in (34..bytes.len()).step_by(997) {
        let count = read(&bytes[..cut]).len();
        assert!(count >= before && count < 401);
        before = count;
    }
    assert!(before > 300);
}

#[test]
fn revoked_keys_take_nothing_more_and_keep_what_was_taken() {
    let bench = Bench::new();
    bench.open();
    let mut sink = bench.writer.sink();
    sink.append(JOURNAL, ALICE, rtp(1, b"before")).unwrap();
    bench.writer.revoke_key(JOURNAL, ALICE).unwrap();
    let refused = sink.append(JOURNAL, ALICE, rtp(2, b"after"));
    assert!(matches!(refused, Err(JournalError::Refused(_))));
    bench.writer.add_key(JOURNAL, ALICE, &key(ALICE)).unwrap();
    sink.append(JOURNAL, ALICE, rtp(3, b"again")).unwrap();
    drop(sink);
    bench.writer.shutdown();
    let records = read(&std::fs::read(bench.path()).unwrap());
    let payloads: Vec<_> = records.iter().filter(|r| r.kind == 1).map(|r| &r.payload[..]).collect();
    assert_eq!(payloads, [&b"before"[..], b"again"]);
}

#[test]
fn a_closed_journal_refuses_at_once_and_keeps_what_sinks_held() {
    let bench = Bench::new();
    bench.open();
    let mut sink = bench.writer.sink();
    sink.append(JOURNAL, ALICE, rtp(1, b"held")).unwrap();
    bench.writer.close(JOURNAL).unwrap();
    assert!(sink.append(JOURNAL, ALICE, rtp(2, b"late")).is_err());
    assert!(matches!(bench.writer.event(JOURNAL, 3, b"late"), Err(JournalError::UnknownJournal)));
    sink.flush(u64::MAX);
    bench.wait_for(|notice| *notice == JournalNotice::Closed { journal: JOURNAL });
    let records = read(&std::fs::read(bench.path()).unwrap());
    assert_eq!(records.iter().filter(|record| record.kind == 1).count(), 1);
    assert!(matches!(bench.writer.close(JOURNAL), Err(JournalError::UnknownJournal)));
}

#[test]
fn waiting_records_reach_the_disk_without_anything_else_happening() {
    let bench = Bench::new();
    bench.open();
    let mut sink = bench.writer.sink();
    sink.append(JOURNAL, ALICE, rtp(0, SECRET)).unwrap();
    sink.flush(99_999);
    sink.flush(100_000);
    let sealed = 34 + 20 + 20 + SECRET.len() as u64 + 16;
    bench.wait_for(|notice| *notice == JournalNotice::Synced { journal: JOURNAL, bytes: sealed });
    assert_eq!(read(&std::fs::read(bench.path()).unwrap()).len(), 1);
}

#[test]
fn an_existing_file_is_never_touched() {
    let bench = Bench::new();
    std::fs::write(bench.path(), b"precious").unwrap();
    let opened = bench.writer.open(JOURNAL, &bench.path(), &key(0), b"");
    assert!(matches!(opened, Err(JournalError::Io(_))));
    assert_eq!(std::fs::read(bench.path()).unwrap(), b"precious");
    bench.writer.open(JOURNAL, &bench.directory.path().join("other"), &key(0), b"").unwrap();
}

#[test]
fn ids_keys_and_lengths_are_checked() {
    let bench = Bench::new();
    bench.open();
    let again = bench.writer.open(JOURNAL, &bench.directory.path().join("b"), &key(0), b"");
    assert!(matches!(again, Err(JournalError::Duplicate)));
    assert!(matches!(bench.writer.add_key(JOURNAL, 0, &key(0)), Err(JournalError::Refused(_))));
    assert!(matches!(bench.writer.add_key(JOURNAL, 3, &[0; 16]), Err(JournalError::Refused(_))));
    assert!(matches!(bench.writer.add_key(99, 3, &key(3)), Err(JournalError::UnknownJournal)));
    let mut sink = bench.writer.sink();
    assert!(matches!(sink.append(JOURNAL, 3, rtp(0, b"")), Err(JournalError::UnknownJournal)));
    assert!(sink.append(JOURNAL, ALICE, rtp(0, &[0; 60_001])).is_err());
    assert!(bench.writer.event(JOURNAL, 0, &[0; 60_001]).is_err());
    bench.writer.shutdown();
    bench.writer.shutdown();
    assert!(bench.writer.event(JOURNAL, 0, b"late").is_err());
}
