<?php
// A client of AsyncAws (Symfony's HTTP client over curl), configured by its environment alone.
//
//   client.php whoami | message QUEUE_URL TEXT
//
// An error goes to stderr as the library words it.
declare(strict_types=1);

require_once "AsyncAws/Sqs/autoload.php";

use AsyncAws\Core\Sts\StsClient;
use AsyncAws\Sqs\SqsClient;

function message(string $queue, string $text): string
{
    $sqs = new SqsClient();
    $sqs->sendMessage(["QueueUrl" => $queue, "MessageBody" => $text])->resolve();
    $message = $sqs->receiveMessage(["QueueUrl" => $queue])->getMessages()[0];
    $done = ["QueueUrl" => $queue, "ReceiptHandle" => $message->getReceiptHandle()];
    $sqs->deleteMessage($done)->resolve();
    return $message->getBody();
}

try {
    echo match ($argv[1]) {
        "whoami" => json_encode((new StsClient())->getCallerIdentity()->getArn()),
        "message" => message($argv[2], $argv[3]),
    };
} catch (AsyncAws\Core\Exception\Exception $error) {
    fwrite(STDERR, get_class($error) . ": " . $error->getMessage() . "\n");
    exit(1);
}
