//! The server's operations as clients other than ours ask for them: what is offered works, what is not says so.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use templar_bucket::{BucketServer, KeyRing, WriteKey};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A server of two buckets with one key each, of which the first is used.
struct Subject {
    _folder: tempfile::TempDir,
    server: BucketServer,
    secret: String,
}

/// An answer: status, head in lower case, body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn is(&self, status: u16, part: &str) {
        assert!(self.status == status && self.body.contains(part), "{}\n{}\nnot {status} {part}", self.head, self.body);
    }
}

impl Subject {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyRing::in_memory([1, 2].map(|number| {
            WriteKey::new(format!("key-{number}"), format!("secret-of-{number}"), format!("bucket-{number}"))
        }));
        let server = BucketServer::bind(ANY_PORT, folder.path(), keys.unwrap()).await.unwrap();
        Self { _folder: folder, server, secret: "secret-of-1".to_owned() }
    }

    async fn send(&self, text: String) -> Answer {
        let address = self.server.local_addr();
        let sent = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            Answer::read(stream)
        });
        sent.await.unwrap()
    }

    /// A request without a signature.
    async fn anonymous(&self, method: &str, target: &str) -> Answer {
        let host = self.server.local_addr();
        self.send(format!(
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        ))
        .await
    }

    /// A request of the holder of the first key.
    async fn signed(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let credential = AwsCredential { key_id: "key-1".to_owned(), secret_key: self.secret.clone(), token: None };
        let url = format!("http://{}{target}", self.server.local_addr());
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request: HttpRequest = request.body(HttpRequestBody::from(body.to_owned())).unwrap();
        AwsAuthorizer::new(&credential, "s3", "us-east-1").try_authorize(&mut request, None).unwrap();
        // The signer leaves the host, which it signed, to the client.
        let host = self.server.local_addr();
        let mut text = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n", body.len());
        text += "connection: close\r\n";
        for (name, value) in request.headers() {
            text += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        self.send(format!("{text}\r\n{body}")).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_are_listed_located_and_listed_in_both_versions() {
    let subject = Subject::new().await;
    for key in ["a", "deep/b", "deep/c"] {
        subject.signed("PUT", &format!("/bucket-1/{key}"), &[], "x").await.is(200, "");
    }
    let mine = subject.signed("GET", "/", &[], "").await;
    mine.is(200, "<Name>bucket-1</Name>");
    assert!(!mine.body.contains("bucket-2"), "{}", mine.body);
    subject.anonymous("GET", "/").await.is(403, "AccessDenied");
    // s3cmd signs for "US" until it is told better.
    let scope = "AWS4-HMAC-SHA256 Credential=key-1/20261130/US/s3/aws4_request,SignedHeaders=host,Signature=00";
    let told = subject
        .send(format!("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: {scope}\r\n\r\n"))
        .await;
    told.is(400, "<Code>AuthorizationHeaderMalformed</Code>");
    told.is(400, "<Region>us-east-1</Region>");
    subject.anonymous("GET", "/bucket-1?location").await.is(200, "LocationConstraint");
    subject.anonymous("GET", "/bucket-3?location").await.is(404, "NoSuchBucket");
    let first = subject.anonymous("GET", "/bucket-1?delimiter=/&max-keys=1").await;
    first.is(200, "<Key>a</Key>");
    assert!(
        first.body.contains("<IsTruncated>true</IsTruncated>") && first.body.contains("<NextMarker>a</NextMarker>")
    );
    subject.anonymous("GET", "/bucket-1?delimiter=/&marker=a").await.is(200, "<Prefix>deep/</Prefix>");
    subject.anonymous("GET", "/bucket-1?list-type=2&prefix=deep/").await.is(200, "<Key>deep/c</Key>");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_says_of_an_object_is_kept_copied_and_replaced_with_it() {
    let subject = Subject::new().await;
    let told = [("x-amz-meta-author", "me"), ("content-type", "text/plain"), ("cache-control", "no-store")];
    subject.signed("PUT", "/bucket-1/a", &told, "hello").await.is(200, "");
    let source = ("x-amz-copy-source", "/bucket-1/a");
    subject.signed("PUT", "/bucket-1/copy", &[source], "").await.is(200, "CopyObjectResult");
    let other = [source, ("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-author", "you")];
    subject.signed("PUT", "/bucket-1/other", &other, "").await.is(200, "CopyObjectResult");
    for (key, author) in [("a", "me"), ("copy", "me"), ("other", "you")] {
        let read = subject.anonymous("GET", &format!("/bucket-1/{key}")).await;
        read.is(200, "hello");
        assert!(read.head.contains(&format!("x-amz-meta-author: {author}")), "{key}: {}", read.head);
    }
    let head = subject.anonymous("HEAD", "/bucket-1/copy").await.head;
    assert!(head.contains("content-type: text/plain") && head.contains("cache-control: no-store"), "{head}");
    subject.signed("PUT", "/bucket-1/a", &[], "plain").await.is(200, "");
    assert!(!subject.anonymous("HEAD", "/bucket-1/a").await.head.contains("x-amz-meta"));
    let long = "y".repeat(2100);
    subject.signed("PUT", "/bucket-1/a", &[("x-amz-meta-x", &long)], "x").await.is(400, "MetadataTooLarge");
    for unsupported in
        [("x-amz-tagging", "a=b"), ("x-amz-server-side-encryption", "AES256"), ("x-amz-storage-class", "GLACIER")]
    {
        subject.signed("PUT", "/bucket-1/a", &[unsupported], "x").await.is(501, "NotImplemented");
    }
    subject.signed("PUT", "/bucket-2/theirs", &[source], "").await.is(403, "AccessDenied");
    // `aws s3 cp` from bucket to bucket copies parts on condition that the source is still the same.
    let head = subject.anonymous("HEAD", "/bucket-1/copy").await.head;
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let copy = |condition: &'static str, tag: &str| {
        [("x-amz-copy-source", "/bucket-1/copy".to_owned()), (condition, tag.to_owned())]
    };
    for (condition, tag, status, part) in [
        ("x-amz-copy-source-if-match", tag.as_str(), 200, "CopyObjectResult"),
        ("x-amz-copy-source-if-match", "\"other\"", 412, "PreconditionFailed"),
        ("x-amz-copy-source-if-none-match", tag.as_str(), 412, "PreconditionFailed"),
        ("x-amz-copy-source-if-none-match", "\"other\"", 200, "CopyObjectResult"),
    ] {
        let headers = copy(condition, tag);
        let headers = [(headers[0].0, headers[0].1.as_str()), (headers[1].0, headers[1].1.as_str())];
        subject.signed("PUT", "/bucket-1/again", &headers, "").await.is(status, part);
    }
    subject
        .signed("PUT", "/bucket-1/none", &[("x-amz-copy-source", "/bucket-1/absent")], "")
        .await
        .is(404, "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_objects_are_deleted_at_once_and_each_failure_is_told() {
    let subject = Subject::new().await;
    for key in ["a", "b"] {
        subject.signed("PUT", &format!("/bucket-1/{key}"), &[("x-amz-meta-x", "y")], "x").await.is(200, "");
    }
    let objects: String = ["a", "absent", "../x"].map(|key| format!("<Object><Key>{key}</Key></Object>")).concat();
    let body = format!("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{objects}</Delete>");
    let gone = subject.signed("POST", "/bucket-1?delete=", &[], &body).await;
    gone.is(200, "<Deleted><Key>a</Key></Deleted>");
    assert!(gone.body.contains("<Key>../x</Key>") && gone.body.contains("InvalidArgument"), "{}", gone.body);
    subject.anonymous("GET", "/bucket-1/a").await.is(404, "NoSuchKey");
    subject.anonymous("GET", "/bucket-1/b").await.is(200, "x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_offered_says_so_and_every_refusal_has_words() {
    let mut subject = Subject::new().await;
    for target in
        ["/bucket-1?policy", "/bucket-1?versioning", "/bucket-1?lifecycle", "/bucket-1/a?tagging", "/bucket-1?uploads"]
    {
        subject.anonymous("GET", target).await.is(501, "NotImplemented");
        let with_value = format!("{target}=");
        subject.signed("GET", &with_value, &[], "").await.is(501, "does not offer");
    }
    subject.signed("PUT", "/bucket-1/name", &[], "x").await.is(200, "");
    subject.signed("PUT", "/bucket-1/name/below", &[], "x").await.is(400, "another key is a folder of this one");
    subject.signed("PUT", "/bucket-1/deep/a", &[], "x").await.is(200, "");
    subject.signed("PUT", "/bucket-1/deep", &[], "x").await.is(400, "another key is a folder of this one");
    let old = "/bucket-1/a?AWSAccessKeyId=key-1&Signature=abc&Expires=1999999999";
    subject.anonymous("PUT", old).await.is(400, "signature version 2 is not offered");
    subject.secret = "another secret".to_owned();
    let wrong = subject.signed("PUT", "/bucket-1/a", &[], "x").await;
    wrong.is(403, "<Code>SignatureDoesNotMatch</Code><Message>the signature was not made with");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_was_damaged_on_the_way_is_refused() {
    let subject = Subject::new().await;
    for (name, value) in [("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="), ("x-amz-checksum-crc32", "NhCmhg==")] {
        subject.signed("PUT", "/bucket-1/whole", &[(name, value)], "hello").await.is(200, "");
        subject.signed("PUT", "/bucket-1/damaged", &[(name, value)], "hellO").await.is(400, "BadDigest");
        subject.anonymous("GET", "/bucket-1/damaged").await.is(404, "NoSuchKey");
    }
    let begun = subject.signed("POST", "/bucket-1/parts?uploads=", &[], "").await;
    let (_, rest) = begun.body.split_once("<UploadId>").unwrap();
    let (upload, _) = rest.split_once("</UploadId>").unwrap();
    let part = format!("/bucket-1/parts?partNumber=1&uploadId={upload}");
    let announced = [("content-md5", "XUFAKrxLKna5cZ2REBfFkg==")];
    subject.signed("PUT", &part, &announced, "hellO").await.is(400, "BadDigest");
    subject.signed("PUT", &part, &announced, "hello").await.is(200, "");
    subject.anonymous("GET", "/bucket-1?list-type=2&max-keys=-1").await.is(400, "InvalidArgument");
}
