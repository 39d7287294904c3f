// Package watermillkafka is `kind: watermill-kafka`: topics on Kafka through the
// published adapter watermill-kafka, so that a fleet of Watermill services moves
// to anywire one agent at a time, on the topics and in the groups that it has. New
// systems use kafkadriver, which is faster and has more in flight.
package watermillkafka
