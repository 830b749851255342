"""The caption review page: a local web page that shows each picture with its draft and saves into captions.yaml."""
