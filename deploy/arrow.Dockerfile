# The service that also reads and writes Arrow and Parquet, 34 MB that the image of ../Dockerfile leaves out. How to build it: docs/deploy.md.
FROM treadle-serving
USER root
COPY requirements.lock /tmp/requirements.lock
RUN /usr/local/bin/python -m pip --python /opt/treadle/bin/python install --no-cache-dir --no-input --disable-pip-version-check -c /tmp/requirements.lock arro3-core arro3-io
USER 10001:10001
