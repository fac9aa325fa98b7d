import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import software.amazon.awssdk.core.exception.SdkException;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.dynamodb.DynamoDbClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.CompletedPart;
import software.amazon.awssdk.services.s3.model.S3Object;
import software.amazon.awssdk.services.s3.presigner.S3Presigner;
import software.amazon.awssdk.services.sqs.SqsClient;
import software.amazon.awssdk.services.sqs.model.Message;
import software.amazon.awssdk.services.sts.StsClient;

/**
 * A client of the AWS SDK for Java v2, configured by its environment alone.
 *
 * <pre>
 * Client whoami | put BUCKET KEY &lt;body | get BUCKET KEY &gt;body
 *        list BUCKET PREFIX | copy BUCKET FROM TO | delete BUCKET KEY
 *        presign put|get BUCKET KEY | note ID TEXT | message QUEUE_URL TEXT
 * </pre>
 *
 * Bodies over 8 MiB go in parts. An error goes to stderr as the SDK words it.
 */
public final class Client {
  private static final int PART_BYTES = 8 << 20;
  private static final String TABLE = "notes";
  private static final Duration URL_LIFE = Duration.ofMinutes(5);

  public static void main(String[] args) throws IOException {
    try {
      run(args);
    } catch (SdkException error) {
      System.err.println(error.getMessage());
      System.exit(1);
    }
  }

  private static void run(String[] args) throws IOException {
    switch (args[0]) {
      case "whoami" -> System.out.println(quoted(StsClient.create().getCallerIdentity().arn()));
      case "put" -> put(args[1], args[2], System.in.readAllBytes());
      case "get" -> {
        try (S3Client s3 = S3Client.create();
            var body = s3.getObject(ask -> ask.bucket(args[1]).key(args[2]))) {
          body.transferTo(System.out);
          System.out.flush();
        }
      }
      case "list" -> {
        var found = S3Client.create().listObjectsV2(ask -> ask.bucket(args[1]).prefix(args[2]));
        System.out.println(
            found.contents().stream()
                .map(S3Object::key)
                .map(Client::quoted)
                .collect(Collectors.joining(",", "[", "]")));
      }
      case "copy" ->
          S3Client.create()
              .copyObject(
                  ask ->
                      ask.sourceBucket(args[1])
                          .sourceKey(args[2])
                          .destinationBucket(args[1])
                          .destinationKey(args[3]));
      case "delete" -> S3Client.create().deleteObject(ask -> ask.bucket(args[1]).key(args[2]));
      case "presign" -> System.out.println(quoted(presigned(args[1], args[2], args[3])));
      case "note" -> print(note(args[1], args[2]));
      case "message" -> print(message(args[1], args[2]));
      default -> throw new IllegalArgumentException("unknown call " + Arrays.toString(args));
    }
  }

  private static void put(String bucket, String key, byte[] body) {
    try (S3Client s3 = S3Client.create()) {
      if (body.length <= PART_BYTES) {
        s3.putObject(ask -> ask.bucket(bucket).key(key), RequestBody.fromBytes(body));
        return;
      }
      String id = s3.createMultipartUpload(ask -> ask.bucket(bucket).key(key)).uploadId();
      List<CompletedPart> parts = new ArrayList<>();
      for (int from = 0; from < body.length; from += PART_BYTES) {
        int number = parts.size() + 1;
        byte[] part = Arrays.copyOfRange(body, from, Math.min(from + PART_BYTES, body.length));
        var answer =
            s3.uploadPart(
                ask -> ask.bucket(bucket).key(key).uploadId(id).partNumber(number),
                RequestBody.fromBytes(part));
        parts.add(CompletedPart.builder().partNumber(number).eTag(answer.eTag()).build());
      }
      s3.completeMultipartUpload(
          ask ->
              ask.bucket(bucket).key(key).uploadId(id).multipartUpload(all -> all.parts(parts)));
    }
  }

  private static String presigned(String verb, String bucket, String key) {
    try (S3Presigner signer = S3Presigner.create()) {
      if (verb.equals("put")) {
        return signer
            .presignPutObject(
                ask ->
                    ask.signatureDuration(URL_LIFE)
                        .putObjectRequest(put -> put.bucket(bucket).key(key)))
            .url()
            .toString();
      }
      return signer
          .presignGetObject(
              ask ->
                  ask.signatureDuration(URL_LIFE)
                      .getObjectRequest(get -> get.bucket(bucket).key(key)))
          .url()
          .toString();
    }
  }

  private static String note(String id, String text) {
    try (DynamoDbClient table = DynamoDbClient.create()) {
      AttributeValue key = AttributeValue.fromS(id);
      Map<String, AttributeValue> item = Map.of("id", key, "text", AttributeValue.fromS(text));
      table.putItem(ask -> ask.tableName(TABLE).item(item));
      return table.getItem(ask -> ask.tableName(TABLE).key(Map.of("id", key))).item().get("text").s();
    }
  }

  private static String message(String queue, String text) {
    try (SqsClient queues = SqsClient.create()) {
      queues.sendMessage(ask -> ask.queueUrl(queue).messageBody(text));
      Message message = queues.receiveMessage(ask -> ask.queueUrl(queue)).messages().get(0);
      queues.deleteMessage(ask -> ask.queueUrl(queue).receiptHandle(message.receiptHandle()));
      return message.body();
    }
  }

  private static void print(String text) throws IOException {
    System.out.write(text.getBytes(StandardCharsets.UTF_8));
    System.out.flush();
  }

  /** Give a JSON string; the keys of the tests hold no control character. */
  private static String quoted(String text) {
    StringBuilder json = new StringBuilder("\"");
    for (char each : text.toCharArray()) {
      if (each == '"' || each == '\\') {
        json.append('\\').append(each);
      } else if (each < 128) {
        json.append(each);
      } else {
        json.append(String.format("\\u%04x", (int) each));
      }
    }
    return json.append('"').toString();
  }

  private Client() {}
}
