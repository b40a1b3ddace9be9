//! As whom the S3 client signs its requests.

use crate::{BucketError, Credentials};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

/// Who asks.
#[derive(Debug)]
pub(crate) enum Identity {
    /// Nobody in particular: requests are not signed.
    Anybody,
    /// Whoever has this access key.
    Key(Credentials),
    /// The machine, container or workload, which gets keys for an hour at a time from Amazon's own services.
    Machine(Vec<(AmazonS3ConfigKey, String)>),
}

/// The variables by which Amazon's platforms tell a program how to get its keys.
const ROLE_VARIABLES: [(&str, AmazonS3ConfigKey); 8] = [
    ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", AmazonS3ConfigKey::MetadataEndpoint),
];

impl Identity {
    /// The writer: by the given key, by one that is found, and at Amazon's own endpoints by the machine's role.
    pub(crate) fn of_writer(given: Option<Credentials>, endpoint: &str) -> Result<Self, BucketError> {
        if let Some(credentials) = given {
            return Ok(Self::Key(credentials.checked()?));
        }
        if let Some(credentials) = Credentials::find()? {
            return Ok(Self::Key(credentials.checked()?));
        }
        // Another server could do nothing with such a role, and asking for one where there is none takes long.
        if endpoint.ends_with(".amazonaws.com") || endpoint.ends_with(".amazonaws.com.cn") {
            return Ok(Self::machine(&|name| std::env::var(name).ok()));
        }
        let reason = "an S3 bucket needs its access key to be written: none is given, and none is in AWS_ACCESS_KEY_ID \
                      and AWS_SECRET_ACCESS_KEY or in ~/.aws/credentials";
        let advice = "set `bucket_access_key` and `bucket_secret_key`".to_owned();
        Err(BucketError::Refused { operation: "opening the bucket", reason: reason.to_owned(), advice })
    }

    /// The machine's role, as these variables tell of it.
    fn machine(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        Self::Machine(ROLE_VARIABLES.into_iter().filter_map(|(name, key)| Some((key, variable(name)?))).collect())
    }

    /// Lets a client ask as this one.
    pub(crate) fn apply(self, builder: AmazonS3Builder) -> AmazonS3Builder {
        match self {
            Self::Anybody => builder.with_skip_signature(true),
            Self::Key(key) => {
                let builder = builder.with_access_key_id(key.access_key).with_secret_access_key(key.secret_key);
                key.session_token.into_iter().fold(builder, AmazonS3Builder::with_token)
            }
            Self::Machine(told) => {
                told.into_iter().fold(builder, |builder, (key, value)| builder.with_config(key, value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::{S3Store, Server};
    use crate::store::Store;
    use crate::{BucketOptions, BucketServer, KeyRing, PutMode, WriteKey};
    use bytes::Bytes;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    const KEYS: &str = r#"{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "role-key",
        "SecretAccessKey": "secret-of-the-role", "Token": "session-of-the-role", "Expiration": "2999-01-01T00:00:00Z"}"#;
    const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

    /// The services of Amazon's machines (instance metadata, version 2) and containers that give out keys, at a port
    /// of this machine. Gives its address, and the lines of requests that it got.
    fn key_service() -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let lines = BufReader::new(&client).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
                let request: Vec<String> = lines.map(|line| line.to_ascii_lowercase()).collect();
                requests.lock().unwrap().push(request.first().cloned().unwrap_or_default());
                answer(&mut client, &request);
            }
        });
        (address, asked)
    }

    fn answer(client: &mut TcpStream, request: &[String]) {
        let has = |header: &str| request.iter().any(|line| line == header);
        let (is_told, is_bearer) = (has("x-aws-ec2-metadata-token: pass"), has("authorization: bearer"));
        let line = request.first().map(String::as_str).unwrap_or_default();
        let role = format!("{ROLES}node");
        let (status, body) = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["put", "/latest/api/token", ..] if has("x-aws-ec2-metadata-token-ttl-seconds: 600") => (200, "pass"),
            ["get", ROLES, ..] if is_told => (200, "node"),
            ["get", path, ..] if path == role && is_told => (200, KEYS),
            ["get", "/of-container", ..] if is_bearer => (200, KEYS),
            _ => (401, ""),
        };
        let length = body.len();
        let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        client.write_all(text.as_bytes()).unwrap();
    }

    /// Whether a store with this identity may write.
    async fn writes(identity: Identity) -> Result<(), BucketError> {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyRing::in_memory([WriteKey::new("role-key", "secret-of-the-role", "bucket-1")]).unwrap();
        let server = BucketServer::bind("127.0.0.1:0".parse().unwrap(), folder.path(), keys).await.unwrap();
        let endpoint = format!("http://{}", server.local_addr());
        let options = BucketOptions::default();
        let server = Server { bucket: "bucket-1", endpoint: &endpoint, region: "eu-central-1" };
        let store = S3Store::open(&server, identity, &options).unwrap();
        store.put("key", Bytes::from_static(b"bytes"), PutMode::Replace).await.map(drop)
    }

    fn machine(told: &[(&str, &str)]) -> Identity {
        Identity::machine(&|name| told.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_machine_without_a_key_writes_by_its_role() {
        let (address, asked) = key_service();
        writes(machine(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &address)])).await.unwrap();
        assert_eq!(asked.lock().unwrap().len(), 3, "a pass, the role, its keys, once: {asked:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_container_without_a_key_writes_by_its_role() {
        let (address, asked) = key_service();
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        let told = |uri: &str| {
            machine(&[
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap()),
            ])
        };
        let uri = format!("{address}/of-container");
        std::fs::write(&token, "bearer").unwrap();
        writes(told(&uri)).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), ["get /of-container http/1.1"]);
        std::fs::write(&token, "another").unwrap();
        let refused = writes(told(&uri)).await.unwrap_err();
        assert!(!refused.to_string().contains("secret-of-the-role"), "{refused}");
    }
}
