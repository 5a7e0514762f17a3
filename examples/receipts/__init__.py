"""Payments and receipts in Avro, with a schema registry; programs that use confluent-kafka are at the other end.

pip install 'evkafka[cli,broker,web,reload,avro]' 'confluent-kafka[avro,schemaregistry]'
evkafka dev examples.receipts.app:app --registry      # Kafka, the registry and the app
python -m examples.receipts.pay                       # writes three payments
python -m examples.receipts.read                      # prints their receipts
"""
