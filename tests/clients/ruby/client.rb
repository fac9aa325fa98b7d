# A client of the AWS SDK for Ruby v3, configured by its environment alone.
#
#   client.rb whoami | put BUCKET KEY <body | get BUCKET KEY >body
#             list BUCKET PREFIX | copy BUCKET FROM TO | delete BUCKET KEY
#             presign put|get BUCKET KEY
#
# Bodies over 8 MiB go in parts. An error goes to stderr as the SDK words it.
require "aws-sdk-s3"
require "json"
require "stringio"

PART = 8 * 1024 * 1024

def encoded(key)
  key.split("/", -1).map { |part| Aws::Sigv4::Signer.uri_escape(part) }.join("/")
end

def put(s3, bucket, key)
  body = $stdin.binmode.read
  if body.bytesize <= PART
    s3.put_object(bucket: bucket, key: key, body: body)
  else
    object = Aws::S3::Object.new(bucket, key, client: s3)
    object.upload_stream(part_size: PART) { |stream| stream.binmode.write(body) }
  end
end

def presign(s3, verb, bucket, key)
  signer = Aws::S3::Presigner.new(client: s3)
  puts signer.presigned_url(:"#{verb}_object", bucket: bucket, key: key).to_json
end

verb, *names = ARGV
if verb == "whoami"
  puts Aws::STS::Client.new.get_caller_identity.arn.to_json
  exit
end
s3 = Aws::S3::Client.new
begin
  case verb
  when "put" then put(s3, *names)
  when "get" then $stdout.binmode.write(s3.get_object(bucket: names[0], key: names[1]).body.read)
  when "list"
    found = s3.list_objects_v2(bucket: names[0], prefix: names[1]).contents
    puts found.map(&:key).to_json
  when "copy"
    s3.copy_object(bucket: names[0], key: names[2], copy_source: "#{names[0]}/#{encoded(names[1])}")
  when "delete" then s3.delete_object(bucket: names[0], key: names[1])
  when "presign" then presign(s3, *names)
  else abort "unknown verb #{verb}"
  end
rescue Aws::Errors::ServiceError, Seahorse::Client::NetworkingError => error
  abort "#{error.class}: #{error.message}"
end
