//! A bucket of the stack's S3 server for one test, as a person would make and damage it. The server's directory lies open:
//! what is in the bucket is looked at there.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{app::App, stack};

/// A bucket. It goes with its content when dropped.
#[derive(Debug)]
pub struct Bucket {
    pub name: String,
    dir: PathBuf,
}

impl Bucket {
    /// The bucket of this installation, private and empty; none where the stack has no S3 server.
    pub fn of(app: &App) -> Option<Self> {
        Self::create(app, &[])
    }

    /// As [`Bucket::of`], with versions, and every new object locked for a day.
    pub fn locked(app: &App) -> Option<Self> {
        let bucket = Self::create(app, &["-H", "x-amz-bucket-object-lock-enabled: true"])?;
        let rule = "<ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days>\
            </DefaultRetention></Rule></ObjectLockConfiguration>";
        assert_eq!(bucket.put_lock(rule), 200);
        Some(bucket)
    }

    fn create(app: &App, more: &[&str]) -> Option<Self> {
        let dir = stack::optional("S3_DIR")?;
        let bucket = Self { name: name_of(app), dir: dir.into() };
        let args = [&["-X", "PUT"], more].concat();
        assert_eq!(bucket.request(&args, "").0, 200, "bucket {} cannot be made", bucket.name);
        Some(bucket)
    }

    /// A store in this bucket for [`WorkerSpec::more`](crate::WorkerSpec).
    pub fn toml(&self, store: &str) -> String {
        self.toml_with(store, &stack::setting("S3_URL"), &self.name, &stack::setting("S3_SECRET_ACCESS_KEY"))
    }

    /// As [`Bucket::toml`], with an address, a bucket or a key that may be wrong.
    pub fn toml_with(&self, store: &str, url: &str, bucket: &str, secret: &str) -> String {
        let id = stack::setting("S3_ACCESS_KEY_ID");
        format!(
            "\n[stores.{store}]\nkind = \"s3\"\nendpoint = {url:?}\nbucket = {bucket:?}\naccess_key_id = {id:?}\nsecret_access_key = {secret:?}\n"
        )
    }

    /// Lets everybody read objects, and nobody list them.
    pub fn make_public(&self) {
        let policy = serde_json::json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Principal": "*",
            "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{}/*", self.name) }] });
        assert_eq!(self.request(&["-X", "PUT", "--data-binary", &policy.to_string()], "?policy=").0, 204);
    }

    /// Ends the lock of every object to come and of those that are there: their lock is the bucket's.
    pub fn unlock(&self) {
        let rule = "<ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
        assert_eq!(self.put_lock(rule), 200);
    }

    /// This request is refused without a digest of its body.
    fn put_lock(&self, rule: &str) -> u16 {
        let digest = ring::digest::digest(&ring::digest::SHA256, rule.as_bytes());
        let digest = format!("x-amz-checksum-sha256: {}", STANDARD.encode(digest));
        self.request(&["-X", "PUT", "-H", &digest, "--data-binary", rule], "?object-lock=").0
    }

    /// The visible objects with their bytes, by key.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let root = self.root();
        let mut found = BTreeMap::new();
        for path in files(&root) {
            let key = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if !key.starts_with('.') {
                found.insert(key, std::fs::read(path).unwrap());
            }
        }
        found
    }

    /// Where an object lies, for whoever damages it.
    pub fn path(&self, key: &str) -> PathBuf {
        self.root().join(key)
    }

    /// The multipart uploads that hold a byte, by their ids.
    pub fn uploads(&self) -> Vec<String> {
        let dir = self.root().join(".sgwtmp/multipart");
        let id = |part: &Path| part.strip_prefix(&dir).unwrap().iter().nth(1).unwrap().to_str().unwrap().to_owned();
        let mut ids: Vec<String> = files(&dir).iter().map(|part| id(part)).collect();
        ids.sort();
        ids.dedup();
        ids
    }

    /// What lies there under names of the store's own, without the marker.
    pub fn canaries(&self) -> Vec<PathBuf> {
        let own = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(".holdfast-canary");
        files(&self.root()).into_iter().filter(own).collect()
    }

    fn root(&self) -> PathBuf {
        self.dir.join("data").join(&self.name)
    }

    /// A signed request on the bucket: status and body. The key goes by standard input.
    #[expect(clippy::disallowed_methods, reason = "tests run tools as a person would")]
    pub fn request(&self, args: &[&str], query: &str) -> (u16, String) {
        let url = format!("{}/{}{query}", stack::setting("S3_URL"), self.name);
        let mut child = std::process::Command::new("curl")
            .args(["-s", "-w", "\n%{http_code}", "--aws-sigv4", "aws:amz:us-east-1:s3", "-K", "-"])
            .args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
            .args(args)
            .arg(url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let user =
            format!("user = \"{}:{}\"\n", stack::setting("S3_ACCESS_KEY_ID"), stack::setting("S3_SECRET_ACCESS_KEY"));
        child.stdin.take().unwrap().write_all(user.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        for part in ["data", "meta", "versions"] {
            // What is not there need not go.
            std::fs::remove_dir_all(self.dir.join(part).join(&self.name)).ok();
        }
    }
}

/// The bucket that store `cloud` of an installation lies in.
fn name_of(app: &App) -> String {
    app.database.replace('_', "-")
}

/// As [`Bucket::of`], for a look at a bucket that somebody else holds; none where the stack has no S3 server.
pub(crate) fn looked_at(app: &App) -> Option<std::mem::ManuallyDrop<Bucket>> {
    let dir = stack::optional("S3_DIR")?;
    Some(std::mem::ManuallyDrop::new(Bucket { name: name_of(app), dir: dir.into() }))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
