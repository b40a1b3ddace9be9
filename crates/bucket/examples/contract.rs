//! Holds a server of your own (Amazon S3, Cloudflare R2, MinIO, moto) to the contract that every backend keeps:
//! `cargo run --release -p templar-bucket --example contract -- 's3://bucket?endpoint=https://...&region=...'`.
//!
//! The bucket must be empty and readable by everybody; the key comes from the usual places (`AWS_ACCESS_KEY_ID` and
//! so on). What the rules store is deleted after each.

use templar_bucket::{Bucket, BucketLocation, Credentials};
use templar_testing::bucket_contract::{self as rules, Subject, options};
use templar_testing::for_each_bucket_rule;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = std::env::args().nth(1).ok_or("name a bucket: s3://name?endpoint=https://host&region=name")?;
    let location: BucketLocation = text.parse()?;
    let writer = Bucket::open_writer_with(&location, None, options())?;
    if !rules::keys(&writer).await.is_empty() {
        return Err("the bucket is not empty; the rules delete what they find, so give them one of their own".into());
    }
    // moto looks at no key at all; with a second argument the rule for wrong ones has nobody to refuse.
    let strangers = match std::env::args().nth(2).as_deref() {
        Some("--any-key") => Vec::new(),
        _ => vec![Bucket::open_writer_with(&location, Some(Credentials::new("nobody", "secret-secret")), options())?],
    };
    macro_rules! run {
        ($($rule:ident)*) => {$(
            let reader = Bucket::open_reader_with(&location, options())?;
            rules::$rule(Subject { writer: writer.clone(), reader, strangers: strangers.clone() }).await;
            rules::empty(&writer).await;
            println!("ok  {}", stringify!($rule).replace('_', " "));
        )*};
    }
    for_each_bucket_rule!(run);
    Ok(())
}
