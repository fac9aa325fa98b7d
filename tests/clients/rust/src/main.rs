//! A client of the AWS SDK for Rust, configured by its environment alone.
//!
//!     client whoami | put BUCKET KEY <body | get BUCKET KEY >body
//!            list BUCKET PREFIX | copy BUCKET FROM TO | delete BUCKET KEY
//!            presign put|get BUCKET KEY | note ID TEXT | message QUEUE_URL TEXT
//!
//! Bodies over 8 MiB go in parts. An error goes to stderr as the SDK words it.

use std::error::Error;
use std::io::{Read, Write};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_http_client::{proxy::ProxyConfig, tls, Builder, Connector};

const PART: usize = 8 << 20;
const TABLE: &str = "notes";

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let Err(error) = run(&args).await {
        eprintln!("{error:?}");
        std::process::exit(1);
    }
}

/// The SDK reads no proxy variable unless its HTTP client is told to.
async fn configured() -> SdkConfig {
    // (docs: connector)
    let http = Builder::new().build_with_connector_fn(|settings, runtime| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(runtime.and_then(|known| known.sleep_impl()));
        connector
            .tls_provider(tls::Provider::Rustls(
                tls::rustls_provider::CryptoMode::Ring,
            ))
            .build()
    });
    // (docs: end)
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new(std::env::var("AWS_REGION").unwrap_or("us-east-1".into())))
        .load()
        .await
}

async fn run(args: &[&str]) -> Result {
    let config = configured().await;
    let s3 = aws_sdk_s3::Client::new(&config);
    match *args {
        ["whoami"] => {
            let answer = aws_sdk_sts::Client::new(&config).get_caller_identity().send().await?;
            println!("{:?}", answer.arn().unwrap_or_default());
        }
        ["put", bucket, key] => put(&s3, bucket, key).await?,
        ["get", bucket, key] => {
            let answer = s3.get_object().bucket(bucket).key(key).send().await?;
            std::io::stdout().write_all(&answer.body.collect().await?.into_bytes())?;
        }
        ["list", bucket, prefix] => {
            let answer = s3.list_objects_v2().bucket(bucket).prefix(prefix).send().await?;
            let keys: Vec<_> = answer.contents().iter().filter_map(|each| each.key()).collect();
            println!("{keys:?}");
        }
        ["copy", bucket, from, to] => {
            let source = format!("{bucket}/{}", encoded(from));
            s3.copy_object().bucket(bucket).key(to).copy_source(source).send().await?;
        }
        ["delete", bucket, key] => {
            s3.delete_object().bucket(bucket).key(key).send().await?;
        }
        ["presign", verb, bucket, key] => {
            let life = PresigningConfig::expires_in(Duration::from_secs(300))?;
            let request = match verb {
                "put" => s3.put_object().bucket(bucket).key(key).presigned(life).await?,
                _ => s3.get_object().bucket(bucket).key(key).presigned(life).await?,
            };
            println!("{:?}", request.uri());
        }
        ["note", id, text] => note(&aws_sdk_dynamodb::Client::new(&config), id, text).await?,
        ["message", queue, text] => message(&aws_sdk_sqs::Client::new(&config), queue, text).await?,
        _ => return Err(format!("unknown call {args:?}").into()),
    }
    Ok(())
}

async fn put(s3: &aws_sdk_s3::Client, bucket: &str, key: &str) -> Result {
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body)?;
    if body.len() <= PART {
        s3.put_object().bucket(bucket).key(key).body(body.into()).send().await?;
        return Ok(());
    }
    let made = s3.create_multipart_upload().bucket(bucket).key(key).send().await?;
    let id = made.upload_id().unwrap_or_default();
    let mut done = Vec::new();
    for (number, part) in (1..).zip(body.chunks(PART)) {
        let call = s3.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number);
        let answer = call.body(part.to_vec().into()).send().await?;
        let part = CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag);
        done.push(part.set_checksum_crc32(answer.checksum_crc32).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(done)).build();
    let call = s3.complete_multipart_upload().bucket(bucket).key(key).upload_id(id);
    call.multipart_upload(parts).send().await?;
    Ok(())
}

async fn note(table: &aws_sdk_dynamodb::Client, id: &str, text: &str) -> Result {
    let key = AttributeValue::S(id.into());
    let item = table.put_item().table_name(TABLE).item("id", key.clone());
    item.item("text", AttributeValue::S(text.into())).send().await?;
    let found = table.get_item().table_name(TABLE).key("id", key).send().await?;
    let text = found.item().and_then(|item| item.get("text"));
    print!("{}", text.and_then(|value| value.as_s().ok()).map_or("", |text| text));
    Ok(())
}

async fn message(queues: &aws_sdk_sqs::Client, queue: &str, text: &str) -> Result {
    queues.send_message().queue_url(queue).message_body(text).send().await?;
    let answer = queues.receive_message().queue_url(queue).send().await?;
    let message = answer.messages().first().ok_or("no message")?;
    let receipt = message.receipt_handle().unwrap_or_default();
    queues.delete_message().queue_url(queue).receipt_handle(receipt).send().await?;
    print!("{}", message.body().unwrap_or_default());
    Ok(())
}

/// Encode a key for x-amz-copy-source.
fn encoded(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
