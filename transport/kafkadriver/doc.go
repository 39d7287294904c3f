// Package kafkadriver carries topics on Apache Kafka, by franz-go.
package kafkadriver
