// A client of the AWS SDK for Go v2, configured by its environment alone.
//
//	client whoami
//	client put BUCKET KEY <body
//	client get BUCKET KEY >body
//	client list BUCKET PREFIX
//	client copy BUCKET FROM TO
//	client delete BUCKET KEY
//	client presign put|get BUCKET KEY
//	client note ID TEXT
//	client message QUEUE_URL TEXT
//
// An error goes to stderr as the SDK words it, and the exit status is 1.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const (
	timeout   = 30 * time.Second
	partBytes = 8 << 20
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	switch {
	case len(args) == 1 && args[0] == "whoami":
		return whoami(ctx, sts.NewFromConfig(cfg))
	case len(args) == 3 && args[0] == "put":
		return put(ctx, s3.NewFromConfig(cfg), args[1], args[2])
	case len(args) == 3 && args[0] == "get":
		return get(ctx, s3.NewFromConfig(cfg), args[1], args[2])
	case len(args) == 3 && args[0] == "list":
		return list(ctx, s3.NewFromConfig(cfg), args[1], args[2])
	case len(args) == 4 && args[0] == "copy":
		source := url.PathEscape(args[1]) + "/" + url.PathEscape(args[2])
		_, err := s3.NewFromConfig(cfg).CopyObject(
			ctx, &s3.CopyObjectInput{Bucket: &args[1], Key: &args[3], CopySource: &source})
		return err
	case len(args) == 3 && args[0] == "delete":
		_, err := s3.NewFromConfig(cfg).DeleteObject(
			ctx, &s3.DeleteObjectInput{Bucket: &args[1], Key: &args[2]})
		return err
	case len(args) == 4 && args[0] == "presign":
		return presign(ctx, s3.NewPresignClient(s3.NewFromConfig(cfg)), args[1], args[2], args[3])
	case len(args) == 3 && args[0] == "note":
		return note(ctx, dynamodb.NewFromConfig(cfg), args[1], args[2])
	case len(args) == 3 && args[0] == "message":
		return message(ctx, sqs.NewFromConfig(cfg), args[1], args[2])
	}
	return fmt.Errorf("unknown call %q", args)
}

func presign(ctx context.Context, client *s3.PresignClient, verb, bucket, key string) error {
	var url string
	if verb == "put" {
		signed, err := client.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			return err
		}
		url = signed.URL
	} else {
		signed, err := client.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			return err
		}
		url = signed.URL
	}
	return json.NewEncoder(os.Stdout).Encode(url)
}

// note puts an item into the table, and prints the text of what is there then.
func note(ctx context.Context, client *dynamodb.Client, id, text string) error {
	table := "notes"
	key := map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}}
	item := map[string]types.AttributeValue{
		"id": key["id"], "text": &types.AttributeValueMemberS{Value: text}}
	_, err := client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: item})
	if err != nil {
		return err
	}
	found, err := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: key})
	if err != nil {
		return err
	}
	value, ok := found.Item["text"].(*types.AttributeValueMemberS)
	if !ok {
		return errors.New("the item has no text")
	}
	_, err = io.WriteString(os.Stdout, value.Value)
	return err
}

// message sends, receives, deletes, and prints what was received.
func message(ctx context.Context, client *sqs.Client, queue, text string) error {
	_, err := client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: &text})
	if err != nil {
		return err
	}
	found, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &queue})
	if err != nil {
		return err
	}
	if len(found.Messages) == 0 {
		return errors.New("no message")
	}
	_, err = client.DeleteMessage(ctx, &sqs.DeleteMessageInput{
		QueueUrl: &queue, ReceiptHandle: found.Messages[0].ReceiptHandle})
	if err != nil {
		return err
	}
	_, err = io.WriteString(os.Stdout, *found.Messages[0].Body)
	return err
}

func whoami(ctx context.Context, client *sts.Client) error {
	answer, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(*answer.Arn)
}

func put(ctx context.Context, client *s3.Client, bucket, key string) error {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	// Over partBytes it goes in parts.
	uploader := manager.NewUploader(client, func(u *manager.Uploader) { u.PartSize = partBytes })
	_, err = uploader.Upload(
		ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	return err
}

func get(ctx context.Context, client *s3.Client, bucket, key string) error {
	answer, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

func list(ctx context.Context, client *s3.Client, bucket, prefix string) error {
	answer, err := client.ListObjectsV2(
		ctx, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	if err != nil {
		return err
	}
	keys := []string{}
	for _, object := range answer.Contents {
		keys = append(keys, *object.Key)
	}
	return json.NewEncoder(os.Stdout).Encode(keys)
}
