// A client of the AWS SDK for JavaScript v3, configured by its environment alone.
//
//   client.mjs [--agent] whoami | put BUCKET KEY <body | get BUCKET KEY >body
//              list BUCKET PREFIX | copy BUCKET FROM TO | delete BUCKET KEY
//              stream BUCKET KEY LENGTH <body | presign put|get BUCKET KEY
//              note ID TEXT | message QUEUE_URL TEXT
//
// The SDK ignores HTTPS_PROXY: with --agent it is given an agent that does not; without,
// awsgate's preload.cjs has to be there. Bodies over 8 MiB go in parts.
import { DynamoDBClient, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { S3Client, GetObjectCommand, ListObjectsV2Command, CopyObjectCommand,
         DeleteObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { SQSClient, DeleteMessageCommand, ReceiveMessageCommand,
         SendMessageCommand } from "@aws-sdk/client-sqs";
import { STSClient, GetCallerIdentityCommand } from "@aws-sdk/client-sts";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { HttpsProxyAgent } from "https-proxy-agent";

const words = process.argv.slice(2);
const options = { region: process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION };
if (words[0] === "--agent") {
  words.shift();
  // (docs: agent)
  const httpsAgent = new HttpsProxyAgent(process.env.HTTPS_PROXY);
  options.requestHandler = new NodeHttpHandler({ httpsAgent });
  // (docs: end)
}
const s3 = new S3Client(options);
const [verb, Bucket, Key, more] = words;

async function stdin() {
  const pieces = [];
  for await (const piece of process.stdin) pieces.push(piece);
  return Buffer.concat(pieces);
}

const verbs = {
  async whoami() {
    const { Arn } = await new STSClient(options).send(new GetCallerIdentityCommand({}));
    console.log(JSON.stringify(Arn));
  },
  async put() {
    const params = { Bucket, Key, Body: await stdin() };
    await new Upload({ client: s3, params, partSize: 8 * 1024 * 1024 }).done();
  },
  async stream() {
    const length = { ContentLength: Number(more) };
    await s3.send(new PutObjectCommand({ Bucket, Key, Body: process.stdin, ...length }));
  },
  async presign() {
    const Command = { put: PutObjectCommand, get: GetObjectCommand }[Bucket];
    const url = await getSignedUrl(s3, new Command({ Bucket: Key, Key: more }));
    console.log(JSON.stringify(url));
  },
  async note() {
    const table = { TableName: "notes" }, id = { S: Bucket };
    const client = new DynamoDBClient(options);
    await client.send(new PutItemCommand({ ...table, Item: { id, text: { S: Key } } }));
    const { Item } = await client.send(new GetItemCommand({ ...table, Key: { id } }));
    process.stdout.write(Item.text.S);
  },
  async message() {
    const queue = { QueueUrl: Bucket };
    const client = new SQSClient(options);
    await client.send(new SendMessageCommand({ ...queue, MessageBody: Key }));
    const { Messages } = await client.send(new ReceiveMessageCommand(queue));
    const [{ Body, ReceiptHandle }] = Messages;
    await client.send(new DeleteMessageCommand({ ...queue, ReceiptHandle }));
    process.stdout.write(Body);
  },
  async get() {
    const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }));
    for await (const piece of Body) process.stdout.write(piece);
  },
  async list() {
    const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: Key }));
    console.log(JSON.stringify((Contents ?? []).map((item) => item.Key)));
  },
  async copy() {
    const CopySource = `${Bucket}/${Key}`.split("/").map(encodeURIComponent).join("/");
    await s3.send(new CopyObjectCommand({ Bucket, Key: more, CopySource }));
  },
  async delete() {
    await s3.send(new DeleteObjectCommand({ Bucket, Key }));
  },
};

try {
  await verbs[verb]();
} catch (error) {
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}
